"""MLflow and Flower: estimates outside a training loop."""
