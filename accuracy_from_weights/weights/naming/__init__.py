"""Naming conventions of state dicts and of Keras variables."""
