"""The interface every model implements and the capabilities it may have."""
