"""Data sets: what they are, where they come from, and the resident store batches are cut from."""
