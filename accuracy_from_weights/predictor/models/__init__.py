"""Regression models kept as plain arrays, and their average."""
