"""Small data, recipes and zoos that the tests of the zoo share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo_training.datasets import load_images
from accuracy_from_weights.zoo_training.training import ImageData


@pytest.fixture(scope="session")
def digits() -> ImageData:
    return load_images("digits", size=16)


@pytest.fixture(scope="session")
def tiny_recipe() -> PaperRecipe:
    return PaperRecipe(epochs=1, checkpoints=(0, 1), n_train=200, n_test=100)


@pytest.fixture
def published_zoo(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a small zoo in the published format, and its folder."""

    def write(
        n_runs: int = 12,
        steps: tuple[int, ...] = (0, 1, 2),
        dtype: str = "float32",
        drop: tuple[str, ...] = (),
        folder: Path = tmp_path / "published",
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        n = n_runs * len(steps)
        np.save(folder / "weights.npy", rng.normal(0, 0.1, (n, 4970)).astype(dtype))
        (folder / "layout.csv").write_text(PAPER_LAYOUT)
        names = ["config.activation", "config.learning_rate", "modeldir", "step"]
        names += ["test_accuracy", "test_loss", "train_accuracy", "train_loss"]
        lines = [",".join(["", *(name for name in names if name not in drop)])]
        for row in range(n):
            run, place = divmod(row, len(steps))
            values = {
                "config.activation": ("relu", "tanh")[run % 2],
                "config.learning_rate": 0.001 * (1 + run),
                "modeldir": f"runs/{run:04d}",
                "step": steps[place],
                "test_accuracy": round(rng.uniform(0.1, 0.9), 4),
                "test_loss": 1.5,
                "train_accuracy": 0.5,
                "train_loss": "",
            }
            kept = [str(values[name]) for name in names if name not in drop]
            lines.append(",".join([str(row), *kept]))
        (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
        return folder

    return write


PAPER_LAYOUT = """varname,start_idx,end_idx,size,shape
sequential/conv2d/bias:0,0,16,16,"(16,)"
sequential/conv2d/kernel:0,16,160,144,"(3, 3, 1, 16)"
sequential/conv2d_1/bias:0,160,176,16,"(16,)"
sequential/conv2d_1/kernel:0,176,2480,2304,"(3, 3, 16, 16)"
sequential/conv2d_2/bias:0,2480,2496,16,"(16,)"
sequential/conv2d_2/kernel:0,2496,4800,2304,"(3, 3, 16, 16)"
sequential/dense/bias:0,4800,4810,10,"(10,)"
sequential/dense/kernel:0,4810,4970,160,"(16, 10)"
"""
