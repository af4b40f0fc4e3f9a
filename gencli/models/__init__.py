"""The models: one file each, its config at the top."""
