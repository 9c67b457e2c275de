"""Settings that must stand before any framework is imported."""

from __future__ import annotations

import os

# Keras' own default is TensorFlow, which the tests do without.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("MPLBACKEND", "Agg")
