"""Stored networks, built again so that they can be run."""
