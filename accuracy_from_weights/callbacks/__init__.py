"""One file a framework: each adds the estimate to what that framework logs at each epoch.

A file imports its framework when it is itself imported, and nothing here imports a file, so that
``from accuracy_from_weights.callbacks.keras import AccuracyFromWeights`` needs Keras alone.
"""
