"""Mixture models, trained by expectation maximisation."""
