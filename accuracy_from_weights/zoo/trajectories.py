"""Training progress of a zoo's checkpoints, as shares of their runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.zoo.table import ZooTable

_ROUNDING = 1e-6


def progress_of(table: ZooTable) -> NDArray[np.float64]:
    """Return the share of its run's planned training that each checkpoint has done: (n,).

    The epochs planned are a table's hyperparameter ``epochs``; where that is missing, the step of
    the run's last checkpoint. Runs of which nothing but the untrained network is known have 1,
    checkpoints of unknown steps NaN.
    """
    _, run = np.unique(table.runs, return_inverse=True)
    last = np.zeros(run.max() + 1)
    np.fmax.at(last, run, table.steps)
    planned = table.hyperparameters.get("epochs", np.full(len(table), np.nan))
    if planned.dtype.kind == "U":
        planned = np.full(len(table), np.nan)
    # A run that went on beyond its plan was planned anew.
    planned = np.fmax(planned, last[run])
    share = np.divide(table.steps, planned, out=np.ones(len(table)), where=planned > 0)
    share[np.isnan(table.steps)] = np.nan
    return np.where(share > 1 - _ROUNDING, 1.0, share)
