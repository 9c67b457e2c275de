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
from digits_run import epochs

from accuracy_from_weights.plots.training_run import plot_history
from accuracy_from_weights.stopping import best_so_far

EPOCHS, RUNS, PATIENCE = 20, 24, 3


def train(
    learning_rate: float, seed: int, before: list[dict[int, float]]
) -> list[dict[str, float]]:
    """Return the numbers of each epoch, the true accuracy among them."""
    bar, rows, below = best_so_far(before), [], 0
    for epoch, model, monitor, log, truth in epochs(learning_rate, seed, EPOCHS):
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
