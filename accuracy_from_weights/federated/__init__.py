"""Estimates of the updates that a federated server receives, where it has no data to judge them."""
