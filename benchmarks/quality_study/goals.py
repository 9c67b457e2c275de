"""What was aimed at, beside what was reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .columns import EQUIVARIANT, LOGGED, LOGGED_TREES, OURS, PUBLISHED

Entry = dict[str, Any]
WEIGHTS, PROBES, LOG = OURS.values()

_NOT_MEASURED = "not measured in this run"


@dataclass(frozen=True)
class Goal:
    """A goal, what was reached, and whether that is enough (None: not measured)."""

    text: str
    reached: str
    is_met: bool | None


def goals(results: Entry) -> list[Goal]:
    """Compare the results with each goal."""
    scores = results["scores"]
    return [
        _probes_at_home(scores),
        _ahead(scores, WEIGHTS, PUBLISHED, "weights alone ahead of the paper's statistics"),
        _ahead(scores, WEIGHTS, EQUIVARIANT, "weights alone ahead of nfn"),
        _log_never_worse(scores),
        *_log_where_it_matters(scores),
        *_left_out(results, "dataset", "Unseen data set, the paper's networks", 0.80, 0.90),
        *_left_out(results, "kind", "Unseen kind of architecture", 0.70, 0.80),
        _few_networks(results["curve"]),
    ]


def _of(entries: list[Entry], part: str, column: str, key: str) -> dict[str, float]:
    """Give a score by group."""
    found = {}
    for e in entries:
        if e["part"] == part and e["column"] == column and e.get(key) and e[key][0] is not None:
            found[e["group"]] = e[key][0]
    return found


def _probes_at_home(scores: list[Entry]) -> Goal:
    text = "Same data set: weights+probes R² .985 or more, and τ .92 of the ceiling or more"
    r2, tau = (_of(scores, "same", PROBES, key) for key in ("r2", "tau_over_ceiling"))
    if not r2:
        return Goal(text, _NOT_MEASURED, None)
    reached = "; ".join(f"{g} {r2[g]:.3f}, {tau[g]:.3f}" for g in r2)
    return Goal(text, reached, min(r2.values()) >= 0.985 and min(tau.values()) >= 0.92)


def _ahead(scores: list[Entry], ours: str, other: str, text: str) -> Goal:
    mine, theirs = _of(scores, "same", ours, "r2"), _of(scores, "same", other, "r2")
    text = f"Same data set: {text}, on each"
    if not mine or not theirs:
        return Goal(text, _NOT_MEASURED, None)
    both = [group for group in mine if group in theirs]
    reached = "R² " + "; ".join(f"{g} {mine[g]:.3f} to {theirs[g]:.3f}" for g in both)
    return Goal(text, reached, all(mine[g] > theirs[g] for g in both))


def _errors(scores: list[Entry]) -> dict[str, tuple[float, float]]:
    """By part and group: ours with the log, the better of training accuracy as it is and fitted."""
    found = {}
    for part in ("same", "dataset", "kind", "pool"):
        mine, raw, trees = (
            _of(scores, part, column, "mean_absolute_error")
            for column in (LOG, LOGGED, LOGGED_TREES)
        )
        for group in mine.keys() & raw.keys():
            best = min(raw[group], trees.get(group, np.inf))
            found[f"{part}: {group}"] = 100 * mine[group], 100 * best
    return dict(sorted(found.items()))


def _log_never_worse(scores: list[Entry]) -> Goal:
    text = (
        "With the log: mean absolute error never above that of training accuracy alone (the better "
        "of as it is and fitted by trees)"
    )
    errors = _errors(scores)
    if not errors:
        return Goal(text, _NOT_MEASURED, None)
    worse = [f"{k} {a:.2f} to {b:.2f}" for k, (a, b) in errors.items() if a > b]
    reached = f"better on {len(errors) - len(worse)} of {len(errors)} groups"
    return Goal(
        text, reached + ("; worse, points: " + "; ".join(worse) if worse else ""), not worse
    )


def _log_where_it_matters(scores: list[Entry]) -> list[Goal]:
    found = []
    for group in ("confident", "label noise"):
        text = f"With the log: half the error of training accuracy alone, networks with {group}"
        if group == "confident":
            text = text.replace("networks with confident", "training accuracy above .95")
        pair = _errors(scores).get(f"pool: {group}")
        if pair is None:
            found.append(Goal(text, _NOT_MEASURED, None))
        else:
            as_it_is = 100 * _of(scores, "pool", LOGGED, "mean_absolute_error")[group]
            reached = f"{pair[0]:.2f} points to {pair[1]:.2f} ({as_it_is:.2f} as it is)"
            found.append(Goal(text, reached, pair[0] <= pair[1] / 2))
    return found


def _left_out(results: Entry, part: str, text: str, tau: float, r2: float) -> list[Goal]:
    """Judge by all that is known of a network alone, and by what a training loop knows as well."""
    found = []
    for key, least, suffix, words in (
        ("tau", tau, "", f"mean τ {tau:.2f} or more"),
        ("r2", r2, " + 10 truths", f"R² {r2:.2f} or more with 10 truths"),
    ):
        entries = results["scores"] if key == "tau" else results["anchored"]
        for column in (PROBES, LOG):
            features = column.removeprefix("ours, ")
            goal = f"{text}: {words} ({features})"
            values = {
                group: value
                for group, value in _of(entries, part, column + suffix, key).items()
                if not group.endswith(", wild")
            }
            if not values:
                found.append(Goal(goal, _NOT_MEASURED, None))
                continue
            mean = float(np.mean(list(values.values())))
            reached = f"{mean:.3f} ({min(values.values()):.3f} to {max(values.values()):.3f})"
            found.append(Goal(goal, reached, mean >= least))
    return found


def _few_networks(curve: list[Entry]) -> Goal:
    text = "150 networks are worth 1,000 with the paper's statistics (R²)"
    r2 = {(e["column"], e["size"]): e["r2"][0] for e in curve if e["part"] == "curve" and "r2" in e}
    theirs = r2.get((PUBLISHED, 1000))
    mine = {name: r2.get((name, 150)) for name in (WEIGHTS, PROBES, LOG)}
    if theirs is None or mine[PROBES] is None:
        return Goal(text, _NOT_MEASURED, None)
    said = "; ".join(
        f"{n.removeprefix('ours, ')} {v:.3f}" for n, v in mine.items() if v is not None
    )
    return Goal(text, f"{said}; theirs {theirs:.3f}", mine[PROBES] >= theirs)
