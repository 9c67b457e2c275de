"""Baselines that estimate accuracy without this package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor

if TYPE_CHECKING:
    from accuracy_from_weights.zoo.table import ZooTable

Floats = NDArray[np.float64]

# HistGradientBoosting takes no more categories than that; such a column names runs, not choices.
_MOST_CATEGORIES = 255


@dataclass(frozen=True)
class Inputs:
    """The columns that a baseline may read.

    Attributes
    ----------
    values : ndarray of shape (n, k)
        NaN where unknown; categories as whole numbers.
    categorical : tuple of int
        Columns that hold categories.
    """

    values: Floats
    categorical: tuple[int, ...] = ()


@dataclass(frozen=True)
class Baseline:
    """A baseline: its name, its columns and its model.

    Attributes
    ----------
    name : str
    inputs : callable
        Takes a zoo table, gives what the baseline sees, or None where the zoo lacks it.
    regressor : callable
        Takes the inputs and a seed, gives an unfitted scikit-learn regressor.
    """

    name: str
    inputs: Callable[[ZooTable], Inputs | None]
    regressor: Callable[[Inputs, int], Any]


def boosted_trees(inputs: Inputs, random_state: int) -> BaseEstimator:
    """Return gradient-boosted trees with fixed settings; nothing is tuned on a test part."""
    return HistGradientBoostingRegressor(
        learning_rate=0.05,
        max_iter=300,
        max_leaf_nodes=15,
        min_samples_leaf=5,
        categorical_features=list(inputs.categorical) or None,
        early_stopping=False,
        random_state=random_state,
    )


def _known(values: NDArray[Any] | None) -> Inputs | None:
    """Return a column or a matrix as inputs; None where nothing is known."""
    if values is None or not np.isfinite(values).any():
        return None
    return Inputs(np.asarray(values, dtype=np.float64).reshape(len(values), -1))


def hyperparameters_and_epoch(table: ZooTable) -> Inputs | None:
    """Return each run's hyperparameters and epoch; None when the zoo holds no recipes.

    Seeds are left out, and so are columns that do not vary or that name single runs.
    """
    columns: list[NDArray[Any]] = []
    categorical: list[int] = []
    for name, values in table.hyperparameters.items():
        choices, codes = np.unique(values, return_inverse=True)
        is_category = values.dtype.kind == "U"
        names_runs = is_category and len(choices) > _MOST_CATEGORIES
        if "seed" in name or len(choices) < 2 or names_runs:
            continue
        if is_category:
            categorical.append(len(columns))
        columns.append(codes if is_category else values)
    if not columns:
        return None
    return Inputs(np.column_stack([*columns, table.steps]).astype(float), tuple(categorical))


BASELINES = (
    Baseline("mean", lambda table: Inputs(np.zeros((len(table), 1))), lambda *_: DummyRegressor()),
    Baseline("epoch number", lambda table: _known(table.steps), boosted_trees),
    Baseline("training loss", lambda table: _known(table.train_loss), boosted_trees),
    Baseline("training accuracy", lambda table: _known(table.train_accuracy), boosted_trees),
    Baseline(
        "training accuracy as logged", lambda table: _known(table.log_accuracy), boosted_trees
    ),
    Baseline("hyperparameters + epoch", hyperparameters_and_epoch, boosted_trees),
    Baseline(
        "paper's 56 statistics, trees", lambda table: _known(table.paper_statistics), boosted_trees
    ),
)
