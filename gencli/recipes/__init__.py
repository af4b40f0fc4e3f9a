"""Named settings (`--config NAME`), one TOML file each."""
