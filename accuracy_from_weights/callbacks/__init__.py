"""Callbacks that add the estimate to what a framework logs at each epoch, one file a framework.

A file imports its framework when it is itself imported, so that
``from accuracy_from_weights.callbacks.keras import AccuracyFromWeights`` needs Keras alone. `base`
is the public base class of all of them.
"""
