"""Diffusion models: noise is turned into images step by step."""
