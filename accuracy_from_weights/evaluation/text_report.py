"""Evaluations as tables of text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from accuracy_from_weights.evaluation.crossvalidation import Evaluation
from accuracy_from_weights.evaluation.scores import Score, Scores
from accuracy_from_weights.io.text_table import align

_COLUMNS = (
    ("R2", "r2"),
    ("tau", "tau"),
    ("tau/ceiling", "tau_over_ceiling"),
    ("mean abs. error", "mean_absolute_error"),
    ("coverage", "coverage"),
)


def format_evaluations(evaluations: Iterable[Evaluation]) -> str:
    """Return all evaluations as text, one block for each data set.

    Parameters
    ----------
    evaluations : iterable of Evaluation

    Returns
    -------
    str
        Several lines, about 100 characters wide. In brackets stands the 95% bootstrap interval
        over runs; ``-`` stands where a score is not defined, as the tau of a constant.
    """
    return "\n\n".join(_format_evaluation(evaluation) for evaluation in evaluations)


def _format_evaluation(evaluation: Evaluation) -> str:
    first = evaluation.all_checkpoints[0]
    parts = (
        ("All checkpoints", evaluation.tie_ceiling, evaluation.all_checkpoints),
        ("Final checkpoints", evaluation.final_tie_ceiling, evaluation.final_checkpoints),
    )
    lines = [
        f"{evaluation.dataset}: {first.n_rows} checkpoints of {first.n_runs} runs; "
        f"{evaluation.protocol}; intervals promise {evaluation.nominal_coverage:.0%}",
    ]
    for title, ceiling, rows in parts:
        lines += [f"{title} (tie ceiling of tau: {ceiling:.3f})", _format_scores(rows)]
    return "\n".join(lines)


def _format_scores(rows: Sequence[Scores]) -> str:
    header = ["", *(heading for heading, _ in _COLUMNS)]
    body = [
        [f"  {scores.name}", *(_format_score(getattr(scores, key)) for _, key in _COLUMNS)]
        for scores in rows
    ]
    return align([header, *body])


def _format_score(value: Score | None) -> str:
    if value is None or not math.isfinite(value.value):
        return "-"
    text = _short(value.value)
    if math.isfinite(value.low):
        text += f" [{_short(value.low)} {_short(value.high)}]"
    return text


def _short(value: float) -> str:
    """Return three decimals without the leading zero."""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"
