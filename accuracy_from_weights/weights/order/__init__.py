"""The order of layers, and normalisations folded into the layers before them."""
