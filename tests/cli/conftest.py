"""The command line as a user calls it, and a small zoo to call it on."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.cli import main

# The paper's network, in the order of the published files: biases stand before kernels.
LAYOUT = (
    ("sequential/conv2d/bias:0", (16,)),
    ("sequential/conv2d/kernel:0", (3, 3, 1, 16)),
    ("sequential/conv2d_1/bias:0", (16,)),
    ("sequential/conv2d_1/kernel:0", (3, 3, 16, 16)),
    ("sequential/conv2d_2/bias:0", (16,)),
    ("sequential/conv2d_2/kernel:0", (3, 3, 16, 16)),
    ("sequential/dense/bias:0", (10,)),
    ("sequential/dense/kernel:0", (16, 10)),
)
STEPS = (0, 1, 3)


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Call the command line and give its exit code, stdout and stderr."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main.main([str(argument) for argument in arguments], prog_name="accuracy-from-weights")
        code = leaving.value.code
        return Result(0 if code is None else int(code), *capsys.readouterr())

    return call


def random_network(rng: np.random.Generator, strength: float) -> list[np.ndarray]:
    """Weights that have moved from a start by ``strength``, the way training moves them."""
    arrays = []
    for _, shape in LAYOUT:
        fan_in = max(int(np.prod(shape[:-1])), 1)
        if len(shape) == 1:
            arrays.append(strength * 0.1 * rng.normal(size=shape))
        else:
            arrays.append(rng.normal(size=shape) * (1 + 2 * strength) / np.sqrt(fan_in))
    return arrays


def write_zoo(folder: Path, n_runs: int, seed: int = 0, accuracies: bool = True) -> Path:
    """Write a zoo in the published format whose accuracies follow from the weights' size."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows, metrics = [], []
    for run in range(n_runs):
        rate = rng.uniform()
        for step in STEPS:
            strength = rate * (1 - np.exp(-step))
            arrays = random_network(rng, strength)
            rows.append(np.concatenate([array.ravel() for array in arrays]))
            truth = 0.1 + 0.85 * strength
            metrics.append(
                {
                    "config.dataset": "made_up",
                    "config.learning_rate": rate,
                    "config.optimizer": ("sgd", "adam")[run % 2],
                    "config.random_seed": run,
                    "modeldir": f"runs/{run:04d}",
                    "step": step,
                    **({"test_accuracy": truth, "test_loss": 1 - truth} if accuracies else {}),
                    "train_accuracy": min(1.0, truth + 0.02 * rng.uniform()),
                    "train_loss": 1 - truth,
                }
            )
    np.save(folder / "weights.npy", np.stack(rows).astype(np.float32))
    with gzip.open(folder / "metrics.csv.gz", "wt", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(metrics[0]))
        writer.writeheader()
        writer.writerows(metrics)
    with (folder / "layout.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["varname", "start_idx", "end_idx", "size", "shape"])
        start = 0
        for name, shape in LAYOUT:
            size = int(np.prod(shape))
            writer.writerow([name, start, start + size, size, shape])
            start += size
    return folder


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of 25 runs with three checkpoints each."""
    return write_zoo(tmp_path_factory.mktemp("zoo") / "made_up", 25)


def save_network(path: Path, strength: float = 0.5, seed: int = 0) -> Path:
    """Save a network of the paper's architecture as a state dict in an ``.npz`` file."""
    arrays = dict(zip(LAYOUT, random_network(np.random.default_rng(seed), strength), strict=True))
    state = {}
    for (name, shape), array in arrays.items():
        _, layer, kind = name.split("/")
        if kind.startswith("kernel"):
            moved = np.moveaxis(array, (-1, -2), (0, 1)) if len(shape) == 4 else array.T
            state[f"{layer}.weight"] = moved.astype(np.float32)
        else:
            state[f"{layer}.bias"] = array.astype(np.float32)
    order = sorted(state, key=lambda key: (key.startswith("dense"), key.split(".")[0], key))
    np.savez(path, **{key: state[key] for key in order})
    return path
