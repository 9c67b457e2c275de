"""The condition of a network: ok, diverged, untrained, collapsed or dead.

A network is named only where that is certain. Divergence and fresh weights show in the weights
themselves. Whether a network gives one answer, or none of its neurons answers, follows from the
order of its layers only where they are known to run one after another: past a skip connection,
everything may still be well. The thresholds are set so that hardly any network above chance is
named, not so that every bad one is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.features.propagation import ACTIVATIONS, OVERLAPS

Columns = Callable[..., NDArray[np.float32]]

CONDITIONS = ("ok", "diverged", "untrained", "collapsed", "dead")
"""``diverged``: a weight is NaN or infinite. ``untrained``: the weights are still as Keras or
PyTorch initialise them. ``collapsed``: one answer drowns all others, whatever the input. ``dead``:
nearly all neurons of the last hidden layer are switched off. The last two are told of networks
that are known to be a chain of layers, the last one of rectifiers (ReLU) only."""

_ONE_ANSWER = 4.0
"""The outputs' means spread e^4 times as much as what an input adds to them (in variance)."""
_SWITCHED_OFF = 0.9
_UNIFORM_DEVIATION = float(np.log(1 / np.sqrt(3)))
"""PyTorch draws weights evenly from plus or minus 1 over the root of the fan-in."""


def name_conditions(
    rows: NDArray[np.float32], names: Sequence[str], graph: NDArray[np.bool_] | None = None
) -> list[str]:
    """Return the condition of each network, one of `CONDITIONS`.

    Parameters
    ----------
    rows : ndarray of shape (n_networks, n_features)
    names : sequence of str
        The columns' names; without them only divergence is seen.
    graph : ndarray of shape (n_networks, 2), optional
        Whether each network is known to be a chain, and to be one of rectifiers; see
        `feature_sets.GRAPH_NAMES`. Default: nothing is known.
    """
    position = {name: k for k, name in enumerate(names)}
    if graph is None:
        graph = np.zeros((len(rows), 2), bool)
    is_chain, is_rectified = graph.T

    def columns(*wanted: str) -> NDArray[np.float32]:
        return rows[:, [position[name] for name in wanted]]

    found = np.full(len(rows), "ok", "<U9")
    try:
        carried = [
            f"propagation.{activation}{round(100 * overlap)}"
            for activation, overlap in product(ACTIVATIONS, OVERLAPS)
        ]
        inactive = columns(*(f"{c}.hidden.inactive.last" for c in carried if "relu" in c))
        constancy = columns(*(f"{c}.output.log_constancy" for c in carried))
        untrained = _as_keras_starts(columns) | _as_torch_starts(columns)
    except KeyError:
        pass  # columns of the user's own, or of an earlier release
    else:
        is_dead = (inactive > _SWITCHED_OFF).all(axis=1)
        found[is_chain & is_rectified & is_dead] = "dead"
        found[is_chain & (constancy > _ONE_ANSWER).all(axis=1)] = "collapsed"
        found[untrained] = "untrained"
    found[~np.isfinite(rows).all(axis=1)] = "diverged"
    return [str(condition) for condition in found]


def _as_keras_starts(columns: Columns) -> NDArray[np.bool_]:
    """Every bias is exactly zero, as it is until the first step."""
    biases = columns("layers.bias_std.mean", "layers.bias_min.mean", "layers.bias_max.mean")
    has_bias = columns("architecture.bias_share")[:, 0] > 0
    return np.asarray(has_bias & (biases == 0).all(axis=1))


def _as_torch_starts(columns: Columns) -> NDArray[np.bool_]:
    """Weights fill the interval that PyTorch draws them from, evenly, in all layers."""
    where = ("first", "last", "mean")
    deviation = columns(*(f"layers.log_std.{w}" for w in where))
    with np.errstate(over="ignore"):  # infinity fills nothing
        low = np.sinh(columns(*(f"layers.q0.{w}" for w in where)))
        high = np.sinh(columns(*(f"layers.q100.{w}" for w in where)))
    fills = (high > 0.9) & (high < 1.001) & (low < -0.9) & (low > -1.001)
    return np.asarray((fills & (np.abs(deviation - _UNIFORM_DEVIATION) < 0.1)).all(axis=1))
