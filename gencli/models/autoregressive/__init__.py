"""Autoregressive models: pixels are drawn one after another, each given those before it."""
