"""Scores of a predictor on unseen runs, with bootstrap intervals, beside simple baselines."""

from __future__ import annotations

from accuracy_from_weights.evaluation.baselines import BASELINES, Baseline, Inputs
from accuracy_from_weights.evaluation.crossvalidation import (
    OURS,
    Evaluation,
    cross_validate,
    score_predictor,
)
from accuracy_from_weights.evaluation.scores import (
    Score,
    Scores,
    kendall_tau,
    score,
    tie_ceiling,
)
from accuracy_from_weights.evaluation.text_report import format_evaluations

__all__ = [
    "BASELINES",
    "OURS",
    "Baseline",
    "Evaluation",
    "Inputs",
    "Score",
    "Scores",
    "cross_validate",
    "format_evaluations",
    "kendall_tau",
    "score",
    "score_predictor",
    "tie_ceiling",
]
