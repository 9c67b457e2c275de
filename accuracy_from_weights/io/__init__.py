"""Untrusted archives, atomic writes and text tables."""
