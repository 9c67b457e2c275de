"""Read and store collections of trained networks, and describe them as tables."""
