"""Blocks that three models or more share."""
