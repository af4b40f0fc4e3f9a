"""Self-contained HTML pages about runs: `gencli report`."""
