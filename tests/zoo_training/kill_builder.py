"""Builds a zoo in children that `test_builder` kills: ``python kill_builder.py FOLDER NETWORKS``.

The framework is loaded once and each child is a fork, so that a kill costs milliseconds. For each
line on stdin, say ``2 7``, a child builds and is killed 7 ms after it has written 2 networks.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np

from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.store import ZooStore
from accuracy_from_weights.zoo_training import torch_backend  # noqa: F401 - loads PyTorch before the forks
from accuracy_from_weights.zoo_training.builder import build_zoo
from accuracy_from_weights.zoo_training.training import ImageData

RECIPE = PaperRecipe(epochs=1, checkpoints=(0, 1), n_train=100, n_test=20)


def random_images() -> ImageData:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (120, 1, 16, 16), dtype=np.uint8)
    labels = rng.integers(0, 10, 120)
    return ImageData("noise", images[:100], labels[:100], images[100:], labels[100:], 10)


def main(folder: str, n_networks: int) -> None:
    data = random_images()
    store = ZooStore(folder)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            build_zoo(folder, RECIPE, data, n_networks)
            os._exit(0)
        networks, milliseconds = line.split()
        enough = len(store.indices()) + int(networks)
        while len(store.indices()) < enough:
            time.sleep(0.001)
        time.sleep(float(milliseconds) / 1000)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else "ended", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
