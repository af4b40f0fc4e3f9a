"""Deployable artefacts of a trained model."""
