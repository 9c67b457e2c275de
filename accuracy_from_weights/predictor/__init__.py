"""The predictor: estimates with intervals from descriptions of networks."""
