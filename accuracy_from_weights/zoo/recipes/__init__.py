"""Recipes: everything needed to train a network again."""
