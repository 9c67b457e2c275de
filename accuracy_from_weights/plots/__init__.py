"""Pictures of training runs and of zoos."""
