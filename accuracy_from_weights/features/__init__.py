"""Weights become numbers, each with a name."""
