"""What other columns, and other networks to fit to, are worth on data that no zoo holds.

The seven statistics of Unterthiner et al. (2020) are tied to one architecture: 56 columns are those
of four layers. Gathered over the layers (the first, the last, mean and standard deviation) and in
units that do not depend on a layer's size, they are 56 columns of any network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.evaluation import kendall_tau
from accuracy_from_weights.features.feature_sets import feature_names
from accuracy_from_weights.predictor.accuracy_predictor import AccuracyPredictor
from accuracy_from_weights.predictor.fit_rows import FitSettings, know_sample
from accuracy_from_weights.predictor.folds import last_rows
from accuracy_from_weights.predictor.models.ensemble import Ensemble, trusted
from accuracy_from_weights.zoo.table import ZooTable
from benchmarks.quality_study.pages import markdown_table, number
from benchmarks.quality_study.published import published_regressor
from benchmarks.replay_study.search import mean_with_spread
from benchmarks.task_curve import rows_of
from benchmarks.unseen.judging import known_to

Floats = NDArray[np.float64]
Entry = dict[str, Any]

STATISTICS = "the paper's statistics, LightGBM"
GENERATED, EVERYTHING = "generated tasks alone", "real data as well"
_SEVEN = {
    "": ("mean", "log_std", "q0", "q25", "q50", "q75", "q100"),
    "bias_": ("mean", "std", "min", "q25", "q50", "q75", "max"),
}
PAPER_NAMES = tuple(
    f"layers.{tensor}{name}.{where}"
    for where in ("first", "last", "mean", "std")
    for tensor, names in _SEVEN.items()
    for name in names
)
"""The 56 columns."""


def fits(
    zoo: ZooTable,
    table: ZooTable,
    shipped: Mapping[str, AccuracyPredictor],
    tell: Callable[[str], None],
) -> list[Entry]:
    """Fit to a zoo with and without its real data, and score on new data.

    Parameters
    ----------
    zoo : ZooTable
        That the shipped predictors are fitted to, of which the last checkpoints are fitted to.
    table : ZooTable
        Of the unseen networks, of which the last checkpoints are scored.
    shipped : mapping of str to AccuracyPredictor
        By feature set; how far each trusts its models is theirs.
    tell : callable
        Takes a line about each fit.

    Returns
    -------
    list of dict
        For each kind of columns and each of `GENERATED` and `EVERYTHING`: error in points and
        Kendall's tau, means over data sets, and the 95% bootstrap interval of the error.
    """
    table = table.subset(~known_to(shipped, table.datasets))
    table = table.subset(np.flatnonzero(last_rows(table.runs, table.steps)))
    zoo = zoo.subset(np.flatnonzero(last_rows(zoo.runs, zoo.steps)))
    generated = zoo.subset(np.char.startswith(zoo.datasets, "universe"))
    found = []
    for name, part in ((GENERATED, generated), (EVERYTHING, zoo)):
        for columns, n, said in _estimates(part, table, shipped):
            entry = {"columns": columns, "fitted": name, "networks": n, **_scores(said, table)}
            found.append(entry)
            tell(str(entry))
    return found


def _estimates(
    zoo: ZooTable, table: ZooTable, shipped: Mapping[str, AccuracyPredictor]
) -> Iterator[tuple[str, int, Floats]]:
    """Yield names of columns, the number of networks fitted to, and estimates of the others."""
    if find_spec("lightgbm") is not None:
        finite = np.isfinite(zoo.features).all(axis=1)
        model = published_regressor("")
        model.fit(_statistics(zoo)[finite], zoo.accuracy[finite])
        yield STATISTICS, int(finite.sum()), np.clip(model.predict(_statistics(table)), 0, 1)
    for features, predictor in shipped.items():
        rows = rows_of(zoo.having(features), features, "mixed")
        tested = rows_of(table, features, "reported")
        settings = FitSettings(knows_sample=know_sample(feature_names(features)))
        said = Ensemble.fit(rows, settings).predict(tested.X, tested.guess)
        yield features, len(rows), trusted(said, tested.guess, predictor.state_.trust)


def _statistics(table: ZooTable) -> Floats:
    places = [table.feature_names.index(name) for name in PAPER_NAMES]
    return table.features[:, places].astype(float)


def _scores(said: Floats, table: ZooTable) -> dict[str, float]:
    errors, taus = [], []
    for name in np.unique(table.datasets):
        rows = table.datasets == name
        errors.append(100 * float(np.abs(said - table.accuracy)[rows].mean()))
        taus.append(kendall_tau(table.accuracy[rows], said[rows]))
    mean, low, high = mean_with_spread(np.array(errors))
    return {"error": mean, "low": low, "high": high, "tau": float(np.nanmean(taus))}


def as_markdown(found: list[Entry]) -> str:
    """Return a table with a line for each kind of columns."""
    cells: dict[str, list[str]] = {}
    for one in found:
        ends = f"{number(one['low'], 1)} to {number(one['high'], 1)}"
        cell = f"**{number(one['error'], 1)}** ({ends}) / {number(one['tau'], 2)}"
        cells.setdefault(one["columns"], []).append(cell)
    lines = [
        [columns if columns == STATISTICS else f"`{columns}`", *line]
        for columns, line in cells.items()
    ]
    return markdown_table(("fitted to", GENERATED, EVERYTHING), lines)
