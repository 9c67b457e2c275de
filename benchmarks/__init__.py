"""What measures the package; a package itself, since Keras 3.3 installs one of this name."""
