"""Train one network with Keras and save its last weights: run with another backend than ours."""

from __future__ import annotations

import sys

import keras
import numpy as np
from test_keras_backend import recipe_for

from accuracy_from_weights.zoo.recipes.architecture import Architecture
from accuracy_from_weights.zoo_training.training import train_networks
from tests.zoo_training.blobs import blobs

if __name__ == "__main__":
    assert keras.backend.backend() == "jax"
    recipe = recipe_for(Architecture(strides=(2, 2, 2)))
    (trained,) = train_networks([recipe], blobs(), backend="keras")
    np.savez(sys.argv[1], **trained.checkpoints[-1].weights)
