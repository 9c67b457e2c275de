"""Build, keep and read collections of trained networks."""
