"""The study: fit, ask and score."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from accuracy_from_weights.zoo.table import ZooTable

from . import scoring
from .columns import Column, Columns
from .splits import Split, final_mask, make_splits

Results = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How much is fitted.

    Attributes
    ----------
    per_run : int
        The most checkpoints of a run that a predictor is fitted to.
    n_folds : int
        In which a predictor calibrates its intervals.
    """

    per_run: int = 3
    n_folds: int = 3


def run_study(table: ZooTable, columns: Columns, settings: Settings, tell: Tell) -> Results:
    """Fit, ask and score.

    Parameters
    ----------
    table : ZooTable
        Of the paper's networks.
    columns : Columns
    settings : Settings
    tell : callable
        Takes a line about what was done.

    Returns
    -------
    dict
        Numbers that JSON can hold; scores are lists of value, low and high end.
    """
    found: list[tuple[Split, Column]] = []
    for split in make_splits(table, settings.per_run):
        start = time.monotonic()
        found += [(split, column) for column in columns.of(split)]
        tell(
            f"{split.dataset} {split.fold}: {len(split.train)} checkpoints fitted on, "
            f"{len(split.test)} asked about, {time.monotonic() - start:.0f} s"
        )
    said = scoring.Said.gather(table, found)
    scored = np.any([np.isfinite(values) for values in said.predicted.values()], axis=0)
    finals, scores = scored & final_mask(table), []
    for name in np.unique(table.datasets):
        scores += scoring.scores_of(table, said, finals & (table.datasets == name), group=str(name))
    return {
        "table": {
            "fingerprint": table.fingerprint,
            "checkpoints": len(table),
            "runs": len(np.unique(table.runs)),
            "datasets": np.unique(table.datasets).tolist(),
        },
        "settings": asdict(settings),
        "left_out": columns.left_out,
        "scores": scores,
        "by_epoch": scoring.by_epoch(table, said, scored),
    }
