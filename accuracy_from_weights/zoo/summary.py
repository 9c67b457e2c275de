"""Summary of a zoo: networks, checkpoints, accuracies, recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.sources import is_source, open_source
from accuracy_from_weights.zoo.table import ZooTable

N_BINS = 20
_BAR_WIDTH = 40
# Of more different values, such as the names of generated tasks, only the number is printed.
_LISTED = 25


def summarise(folder: str | Path) -> list[dict[str, Any]]:
    """Summarise a zoo, a table, or each of those in a folder; the weights are not read.

    Returns
    -------
    list of dict
        For each zoo: ``name``, ``networks``, ``diverged`` (None where not recorded),
        ``checkpoints``, ``checkpoints_without_accuracy``, ``checkpoints_a_network``,
        ``datasets`` (networks by data set), ``epochs``, ``final_accuracy`` (mean, least, quartiles
        and greatest, a fraction in [0, 1]), ``histogram`` (networks whose last known accuracy is in
        each of 20 equal parts of [0, 1]) and ``recipe`` (of each hyperparameter the range of its
        numbers, or the networks by value).

    Raises
    ------
    ZooError
        When there is no zoo, or it is damaged.
    """
    folder = Path(folder)
    if folder.is_file():
        return [_summary_of_table(folder)]
    if not folder.is_dir():
        raise ZooError(f"{folder} does not exist. Name a zoo, a table or a folder of them.")
    if is_source(folder):
        return [_summary_of_source(folder)]
    summaries = [_summary_of_table(path) for path in sorted(folder.glob("*.npz"))]
    summaries += [_summary_of_source(one) for one in sorted(folder.iterdir()) if is_source(one)]
    if not summaries:
        raise ZooError(f"{folder} holds no zoo and no table. Name another folder.")
    return summaries


def _summary_of_source(folder: Path) -> dict[str, Any]:
    source = open_source(folder)
    m = source.metrics
    summary = _summary(m.runs, m.steps, m.test_accuracy, m.recipe)
    return {"name": source.name, **summary, "diverged": source.n_diverged}


def _summary_of_table(path: Path) -> dict[str, Any]:
    table = ZooTable.load(path)
    recipe = {"dataset": table.datasets, **table.hyperparameters}
    steps, accuracy = np.asarray(table.steps, float), np.asarray(table.accuracy, float)
    return {"name": path.stem, **_summary(table.runs, steps, accuracy, recipe), "diverged": None}


def _summary(
    all_runs: NDArray[np.str_],
    steps: NDArray[np.float64],
    accuracy: NDArray[np.float64],
    recipe: dict[str, NDArray[np.generic]],
) -> dict[str, Any]:
    known = np.flatnonzero(~np.isnan(accuracy))
    runs, first_rows, sizes = np.unique(all_runs, return_index=True, return_counts=True)
    final = accuracy[known[_last_rows(all_runs[known], steps[known])]]
    datasets = recipe.get("dataset")
    return {
        "networks": len(runs),
        "checkpoints": len(all_runs),
        "checkpoints_without_accuracy": len(all_runs) - len(known),
        "checkpoints_a_network": _range(sizes),
        "datasets": {} if datasets is None else _counts(datasets[first_rows]),
        "epochs": _range(steps),
        "final_accuracy": _spread(final),
        "histogram": np.histogram(final, bins=N_BINS, range=(0, 1))[0].tolist(),
        "recipe": {name: _describe_column(values[first_rows]) for name, values in recipe.items()},
    }


def _last_rows(runs: NDArray[np.str_], steps: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the row of each run's last step."""
    order = np.lexsort((steps, runs))
    return order[np.append(runs[order][1:] != runs[order][:-1], [True] * bool(len(runs)))]


def _describe_column(values: NDArray[np.generic]) -> Any:
    if values.dtype.kind == "U" or len(np.unique(values)) <= 5:
        return _counts(values)
    return _range(values)


def _counts(values: NDArray[np.generic]) -> dict[str, int]:
    names, counts = np.unique(values, return_counts=True)
    return {
        name if isinstance(name, str) else f"{name:g}": count
        for name, count in zip(names.tolist(), counts.tolist(), strict=True)
    }


def _range(values: NDArray[Any]) -> dict[str, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {}
    return {"least": float(finite.min()), "greatest": float(finite.max())}


def _spread(values: NDArray[np.float64]) -> dict[str, float]:
    if not values.size:
        return {}
    quartiles = np.percentile(values, [0, 25, 50, 75, 100]).tolist()
    names = ("least", "lower_quartile", "median", "upper_quartile", "greatest")
    return {"mean": float(values.mean()), **dict(zip(names, quartiles, strict=True))}


def as_text(summary: dict[str, Any]) -> str:
    """Return one zoo's summary as text, its histogram as bars."""
    diverged = summary["diverged"]
    lines = [
        f"{summary['name']}: {summary['networks']:,} networks, "
        f"{summary['checkpoints']:,} checkpoints"
        + ("" if diverged is None else f", {diverged:,} networks diverged")
    ]
    spread = summary["final_accuracy"]
    if spread:
        lines += [
            "",
            f"Test accuracy at each network's last checkpoint: median {spread['median']:.3f}, "
            f"from {spread['least']:.3f} to {spread['greatest']:.3f}",
        ]
        most = max(summary["histogram"])
        for place, count in enumerate(summary["histogram"]):
            bar = "#" * -(-_BAR_WIDTH * count // most)
            lines.append(f"  {place / N_BINS:.2f}-{(place + 1) / N_BINS:.2f} {count:6,} {bar}")
    lines += ["", "Recipes"]
    width = max((len(name) for name in summary["recipe"]), default=0)
    for name, values in summary["recipe"].items():
        lines.append(f"  {name:{width}}  {_column_as_text(values)}")
    return "\n".join(line.rstrip() for line in lines)


def _column_as_text(values: dict[str, Any]) -> str:
    if values.keys() == {"least", "greatest"}:
        return f"{values['least']:.4g} to {values['greatest']:.4g}"
    if len(values) == 1:
        return next(iter(values)) or "-"
    if len(values) > _LISTED:
        return f"{len(values):,} different ones"
    return ", ".join(f"{name or '-'} {count:,}" for name, count in values.items())
