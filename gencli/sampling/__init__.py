"""Samplers as free functions, and the per-image random numbers they draw from."""
