"""Statistics of large layers, in blocks or on a device."""
