"""What was measured on unseen networks, as tables and numbers for the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.quality_study.pages import markdown_table, number
from benchmarks.unseen.judging import EVALUATED, MEAN, REPORTED

Entry = dict[str, Any]

CONFIDENT, WRONG, ALL = "training accuracy above .95", "wrong labels", "all networks"
HARD = (CONFIDENT, WRONG)
_HARD = {CONFIDENT: "training accuracy is above 95%", WRONG: "labels are wrong"}
TRAINING = {REPORTED: "reported", EVALUATED: "evaluated"}


def blocks(results: Entry) -> dict[str, str]:
    """Return the tables by the names of their marks in the pages."""
    found = {}
    for part in results["parts"]:
        name = name_of(part)
        found[f"{name} means"] = _means(part)
        found[f"{name} groups"] = _groups(part)
        found[f"{name} choices"] = choices_table(part["choices"])
    found["unseen summary"] = _summary(new_part(results))
    head, *lines = results["not_classifiers"]
    found["unseen not classifiers"] = markdown_table(head, lines)
    return found


def numbers(results: Entry) -> dict[str, str]:
    """Return single numbers for the text, by the names of their marks.

    "unseen new error of weights" is the mean over data sets, "unseen new error, wrong labels, of
    weights" that over a group of networks.
    """
    ours = [part for part in results["parts"] if part["table"] == "unseen"]
    found = {"unseen data sets": str(sum(len(part["datasets"]) for part in ours))}
    errors: dict[str, list[float]] = {}
    for part in ours:
        for verdict in part["verdicts"]:
            for scores in datasets_of(part, verdict).values():
                errors.setdefault(title_of(verdict), []).append(scores["error"])
        for form, word in TRAINING.items():
            for scores in datasets_of(part, part["verdicts"][0]).values():
                who = f"training accuracy, {form}"
                errors.setdefault(who, []).append(scores[f"{word}_error"])
    for who, values in errors.items():
        known = [value for value in values if value is not None]
        if known:
            found[f"unseen error of {who}"] = number(sum(known) / len(known), 1)
    for part in results["parts"]:
        name = name_of(part)
        found[f"{name} data sets"] = str(len(part["datasets"]))
        found[f"{name} networks"] = str(part["networks"])
        for verdict in part["verdicts"]:
            who = title_of(verdict)
            for group in (MEAN, *HARD):
                scores = verdict["groups"].get(group)
                if scores is None:
                    continue
                where = "" if group == MEAN else f", {group},"
                for key, write in _WRITTEN.items():
                    found[f"{name} {key}{where} of {who}"] = write(scores[key])
            found[f"{name} better of {who}"] = better_on(verdict)
            found[f"{name} coverage range of {who}"] = _range(datasets_of(part, verdict), "holds")
        for form, word in TRAINING.items():
            for group in (MEAN, *HARD):
                scores = part["verdicts"][0]["groups"].get(group)
                if scores is not None:
                    where = "" if group == MEAN else f", {group},"
                    error, tau = scores[f"{word}_error"], scores[f"{word}_tau"]
                    found[f"{name} error{where} of training accuracy, {form}"] = number(error, 1)
                    found[f"{name} tau{where} of training accuracy, {form}"] = number(tau, 2)
        for way, lost in part["choices"].items():
            for group, value in lost.items():
                found[f"{name} lost, {group}, by {way}"] = number(value, 1)
    return found


def _percent(value: float) -> str:
    return f"{value:.0%}"


_WRITTEN = {
    "error": lambda value: number(value, 1),
    "tau": lambda value: number(value, 2),
    "r2": lambda value: number(value, 2),
    "holds": _percent,
    "width": lambda value: number(value, 0),
    "perfect_error": lambda value: number(value, 1),
    "perfect_tau": lambda value: number(value, 2),
    "inside": _percent,
}
"""Keys of a verdict's scores, and how they are written in the text."""


def name_of(part: Entry) -> str:
    """Return the beginning of the names of a part's marks."""
    return f"{part['table']} {part['data']}"


def new_part(results: Entry) -> Entry:
    """Return what was measured on data that no zoo holds."""
    (part,) = (p for p in results["parts"] if (p["table"], p["data"]) == ("unseen", "new"))
    return part


def title_of(verdict: Entry) -> str:
    """Return the name of a predictor, and of the form of the log that it was given."""
    log = verdict["log"]
    return f"{verdict['predictor']}, {log}" if log else str(verdict["predictor"])


def datasets_of(part: Entry, verdict: Entry) -> dict[str, Entry]:
    """Return a verdict's scores by data set."""
    return {name: verdict["groups"][name] for name in part["datasets"]}


def reported(part: Entry) -> Iterator[Entry]:
    """Yield a verdict for each predictor: with the log as the loop reports it, where it does."""
    first = {}
    for verdict in part["verdicts"]:
        first.setdefault(verdict["predictor"], verdict)
    yield from first.values()


def better_on(verdict: Entry) -> str:
    """Say on how many data sets the error is below that of training accuracy in the same form."""
    word = TRAINING.get(verdict["log"], "reported")
    groups = list(verdict["groups"].values())
    datasets = groups[: list(verdict["groups"]).index(MEAN)]
    known = [(g["error"], g[f"{word}_error"]) for g in datasets if g[f"{word}_error"] is not None]
    return f"{sum(mine < theirs for mine, theirs in known)} of {len(known)}"


def _range(datasets: dict[str, Entry], key: str) -> str:
    values = [scores[key] for scores in datasets.values()]
    return f"{min(values):.0%} to {max(values):.0%}"


def _means(part: Entry) -> str:
    """Lay out the means over data sets, a line for each predictor."""
    lines = []
    for verdict in part["verdicts"]:
        m = verdict["groups"][MEAN]
        features, log = f"`{verdict['predictor']}`", verdict["log"]
        lines.append(
            [
                f"{features}, log {log}" if log else features,
                f"**{number(m['error'], 1)}** ({number(m['error_low'], 1)} to "
                f"{number(m['error_high'], 1)})",
                number(m["r2"], 2),
                number(m["tau"], 2),
                _percent(m["holds"]),
                number(m["width"], 0),
                _percent(m["inside"]),
                better_on(verdict),
            ]
        )
    mean = part["verdicts"][0]["groups"][MEAN]
    for form, word in TRAINING.items():
        if mean[f"{word}_error"] is not None:
            error, tau = number(mean[f"{word}_error"], 1), number(mean[f"{word}_tau"], 2)
            lines.append([f"training accuracy {form}", error, "", tau, "", "", "", ""])
    if mean["perfect_error"] is not None:
        error, tau = number(mean["perfect_error"], 1), number(mean["perfect_tau"], 2)
        title = "an estimate without error, as test sets of this size show it"
        lines.append([title, error, "", tau, "", "", "", ""])
    for one in part["ranks"]:
        title = f"{one['column']} ({one['networks']} networks)"
        lines.append([title, "", "", number(one["tau"], 2), "", "", "", ""])
    head = ("", "error", "R²", "τ", "90% holds", "width", "in family", "better on")
    return markdown_table(head, lines)


def _groups(part: Entry) -> str:
    """Lay out errors and coverage by data set and kind, a column for each predictor."""
    verdicts = list(reported(part))
    lines = []
    for group, first in verdicts[0]["groups"].items():
        cells = [f"{number(first[f'{word}_error'], 1)}" for word in TRAINING.values()]
        for verdict in verdicts:
            scores = verdict["groups"][group]
            cells.append(f"{number(scores['error'], 1)} / {_percent(scores['holds'])}")
        title = f"**{group}**" if group == MEAN else group
        lines.append([title, f"{first['networks']:.0f}", *cells])
    training = [f"training accuracy {form}" for form in TRAINING]
    return markdown_table(
        ("", "networks", *training, *(f"`{v['predictor']}`" for v in verdicts)), lines
    )


def choices_table(choices: Entry) -> str:
    """Lay out what ways of choosing a checkpoint lose, a column for each group of networks."""
    groups = list(choices["the last"])
    lines = [[way, *(number(lost[group], 2) for group in groups)] for way, lost in choices.items()]
    return markdown_table(("kept is the highest of", *groups), lines)


def _summary(part: Entry) -> str:
    """Lay out what a user gets, a column for each predictor and two for training accuracy."""
    verdicts = list(reported(part))

    def line(title: str, group: str, key: str, places: int = 1) -> list[str]:
        cells = [number(v["groups"][group][key], places) for v in verdicts]
        first = verdicts[0]["groups"][group]
        theirs = [first.get(f"{word}_{key}") for word in TRAINING.values()]
        return [title, *cells, *("" if t is None else number(t, places) for t in theirs)]

    covered = ["90% intervals hold", *(_percent(v["groups"][MEAN]["holds"]) for v in verdicts)]
    lost = part["choices"]
    kept = [lost[title_of(v)][ALL] for v in verdicts]
    kept += [lost[f"training accuracy, {form}"][ALL] for form in TRAINING]
    last = number(lost["the last"][ALL], 1)
    lines = [
        line("error in points", MEAN, "error"),
        line("order (τ)", MEAN, "tau", 2),
        [*covered, "", ""],
        line("width of these intervals, points", MEAN, "width", 0),
        *(
            line(f"error where {words}", group, "error")
            for group, words in _HARD.items()
            if group in verdicts[0]["groups"]
        ),
        [
            f"points below the best checkpoint, if the highest is kept (the last: {last})",
            *(number(value, 1) for value in kept),
        ],
    ]
    columns = [f"`{v['predictor']}`" for v in verdicts]
    training = [f"training accuracy {form}" for form in TRAINING]
    return markdown_table(("", *columns, *training), lines)
