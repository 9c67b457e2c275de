"""The HTML report about a predictor."""
