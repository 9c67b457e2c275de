"""Draw docs/pictures/sweep.png: a sweep of learning rates, stopped early on the estimate.

    python docs/make_sweep.py

Trains the paper's network 24 times on scikit-learn's digits, one run after the other. A run is
stopped when its estimate has stayed below what half of the runs before it had reached. Needs the
extras torch and plot; half a minute on one core.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.plots.training_run import plot_history
from accuracy_from_weights.stopping import best_so_far

EPOCHS, RUNS, PATIENCE = 20, 24, 3


def train(
    learning_rate: float, seed: int, before: list[dict[int, float]]
) -> list[dict[str, float]]:
    """Return the numbers of each epoch, the true accuracy among them."""
    torch.manual_seed(seed)
    pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    images = (pixels.float() / 8 - 1).reshape(-1, 1, 8, 8)
    mixed = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images, labels = images.repeat_interleave(3, 2).repeat_interleave(3, 3)[mixed], labels[mixed]
    layers: list[nn.Module] = []
    for inputs in (1, 16, 16):
        layers += [nn.Conv2d(inputs, 16, 3, stride=2), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    optimiser = torch.optim.Adam(model.parameters(), learning_rate)
    n = len(images) - 300
    sample = images[:n], labels[:n]
    monitor = Monitor(features="weights+probes+log+sample", sample=sample, input_shape=(1, 24, 24))
    bar, rows, below = best_so_far(before), [], 0
    for epoch in range(EPOCHS):
        right, loss = 0, 0.0
        for batch in torch.randperm(n).split(32):
            optimiser.zero_grad()
            answers = model(images[batch])
            error = nn.functional.cross_entropy(answers, labels[batch])
            error.backward()
            optimiser.step()
            right += (answers.argmax(1) == labels[batch]).sum().item()
            loss += error.item() * len(batch)
        log = {"accuracy": right / n, "loss": loss / n, "samples": n}
        with torch.no_grad():
            truth = (model(images[-300:]).argmax(1) == labels[-300:]).float().mean().item()
        rows.append({"epoch": epoch, "truth": truth, **monitor.update(model, epoch, log=log)})
        below = below + 1 if rows[-1]["accuracy_from_weights"] < bar(epoch) else 0
        if below == PATIENCE:
            break
    return rows


def main() -> None:
    """Train, draw, save."""
    warnings.simplefilter("ignore")
    runs: dict[str, list[dict[str, float]]] = {}
    reached: list[dict[int, float]] = []
    rates = 10 ** np.random.default_rng(0).uniform(-4.5, -0.5, RUNS)
    for seed, rate in enumerate(rates):
        rows = train(rate, seed, reached)
        runs[f"rate {rate:.2g}"] = rows
        reached.append({row["epoch"]: row["accuracy_from_weights"] for row in rows})
    path = Path(__file__).parent / "pictures" / "sweep.png"
    plot_history(
        runs, truth="truth", title=f"{RUNS} learning rates on handwritten digits", path=path
    )


if __name__ == "__main__":
    main()
