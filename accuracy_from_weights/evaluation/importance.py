"""Permutation importance of groups of features, measured on unseen networks.

Single features are no unit to ask for: hundreds of them say much the same, so that shuffling one
changes nothing. Whole groups are shuffled together (grouped permutation importance; Gregorutti,
Michel & Saint-Pierre 2015, "Grouped variable importance with random forests").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Columns = NDArray[np.intp]

_N_SHUFFLES = 3
"""Shuffles that are averaged."""

_WHERE = {
    "first": "first layer",
    "last": "last layer",
    "mean": "mean over the layers",
    "std": "spread over the layers",
}
_OWN_NAMES = {
    "architecture": "architecture",
    "between": "between neighbouring layers",
    "propagation": "a Gaussian sent through the layers",
    "probes": "answers to synthetic inputs",
    "log": "what the training loop logged",
}


def coarse_groups(names: Sequence[str]) -> dict[str, Columns]:
    """Group features by the part of the network that they describe.

    Parameters
    ----------
    names : sequence of str
        With dots between their parts, as `features.description.FEATURE_NAMES`.

    Returns
    -------
    dict of str to ndarray of int
        Group's name, for people, to its columns; in the order in which the groups first appear.
    """
    return _grouped([_coarse(name.split(".")) for name in names])


def fine_groups(names: Sequence[str]) -> dict[str, Columns]:
    """Group features by what they measure, in any part of the network; as `coarse_groups`."""
    return _grouped([_fine(name.split(".")) for name in names])


def group_importances(
    predictor: Any,
    features: NDArray[Any],
    truth: ArrayLike,
    groups: Mapping[str, Columns],
    *,
    random_state: int = 0,
) -> dict[str, float]:
    """Measure how much worse the predictions become when a group of features is shuffled.

    Parameters
    ----------
    predictor : any model with ``predict``
        Fitted to other networks than these.
    features : ndarray of shape (n, d)
    truth : array_like of shape (n,)
        Accuracies, fractions in [0, 1].
    groups : mapping of str to ndarray of int
        Columns that are shuffled together: each network gets those of another one.
    random_state : int
        Seed of the shuffles, which are the same for all groups. Defaults to 0.

    Returns
    -------
    dict of str to float
        Rise of the mean absolute error, in units of accuracy; below 0 by chance for a group that
        does not matter.
    """
    t = np.asarray(truth, dtype=np.float64)
    generator = np.random.default_rng(random_state)
    orders = [generator.permutation(len(t)) for _ in range(_N_SHUFFLES)]
    base = np.mean(np.abs(predictor.predict(features) - t))
    found = {}
    for name, columns in groups.items():
        if not np.ptp(features[:, columns], axis=0).any():
            found[name] = 0.0  # a shuffle would change nothing
            continue
        worse = []
        for order in orders:
            shuffled = features.copy()
            shuffled[:, columns] = features[np.ix_(order, columns)]
            worse.append(np.mean(np.abs(predictor.predict(shuffled) - t)) - base)
        found[name] = float(np.mean(worse))
    return found


def _grouped(labels: Sequence[str]) -> dict[str, Columns]:
    each = np.asarray(labels)
    return {label: np.flatnonzero(each == label) for label in dict.fromkeys(labels)}


def _coarse(parts: Sequence[str]) -> str:
    if parts[0] == "layers" and parts[-1] in _WHERE:
        return _WHERE[parts[-1]]
    return _OWN_NAMES.get(parts[0], parts[0])


def _fine(parts: Sequence[str]) -> str:
    kept = list(parts)
    if len(kept) > 2 and kept[-1] in _WHERE:
        kept.pop()
    if kept[0] == "propagation" and len(kept) > 2:
        del kept[1]  # the activation and the overlap that it was worked out for
    return " ".join(kept[:3]).replace("_", " ")
