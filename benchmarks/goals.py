"""What was aimed at, beside what was reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.quality_study.columns import OURS
from benchmarks.quality_study.pages import markdown_table, number
from benchmarks.unseen.judging import MEAN
from benchmarks.unseen.report import (
    ALL,
    CONFIDENT,
    HARD,
    TRAINING,
    better_on,
    datasets_of,
    new_part,
    reported,
    title_of,
)

Entry = dict[str, Any]
WEIGHTS, PROBES, LOG, SAMPLE = OURS

EARLIER = {
    WEIGHTS: {"cifar10_grey": 0.919, "fashion_mnist": 0.972, "mnist": 0.975, "usps": 0.956},
    PROBES: {"cifar10_grey": 0.957, "fashion_mnist": 0.980, "mnist": 0.982, "usps": 0.977},
    LOG: {"cifar10_grey": 0.968, "fashion_mnist": 0.990, "mnist": 0.992, "usps": 0.983},
}
"""R² on known data sets with the earlier description and the earlier zoo."""


@dataclass(frozen=True)
class Goal:
    """A goal, what was reached, and whether that is enough (None: not measured)."""

    text: str
    reached: str
    is_met: bool | None


def goals(
    unseen: Entry,
    search: Entry,
    cards: dict[str, Entry],
    quality: Entry,
    retraining: list[Entry],
) -> list[Goal]:
    """Compare what was measured with each goal.

    Parameters
    ----------
    unseen, search, quality, retraining
        What `benchmarks.unseen judge`, `benchmarks.unseen search`, `benchmarks/quality.py` and
        `benchmarks/retraining.py` wrote.
    cards : dict of str to dict
        Of the shipped predictors, by feature set.
    """
    return [
        *_new_data(new_part(unseen)),
        *_intervals(new_part(unseen), cards),
        *_checkpoints(new_part(unseen)),
        *of_search(search),
        *_known_data(quality),
        *_retraining(retraining),
    ]


def as_markdown(found: list[Goal]) -> str:
    """Return a table with a line for each goal."""
    words = {None: "not measured", True: "met", False: "**missed**"}
    lines = [[goal.text, goal.reached, words[goal.is_met]] for goal in found]
    return markdown_table(("goal", "reached", ""), lines)


def _new_data(part: Entry) -> Iterator[Goal]:
    verdicts = {v["predictor"]: v for v in reported(part)}
    m = {features: v["groups"][MEAN] for features, v in verdicts.items()}
    where = "New data"
    yield Goal(
        f"{where}, `{WEIGHTS}`: error below 8 points and τ above .75",
        f"{m[WEIGHTS]['error']:.1f} points, {number(m[WEIGHTS]['tau'], 2)}",
        m[WEIGHTS]["error"] < 8 and m[WEIGHTS]["tau"] > 0.75,
    )
    yield Goal(
        f"{where}, `{PROBES}`: error below 6 points and R² above .80",
        f"{m[PROBES]['error']:.1f} points, {number(m[PROBES]['r2'], 2)}",
        m[PROBES]["error"] < 6 and m[PROBES]["r2"] > 0.8,
    )
    for verdict in part["verdicts"]:
        if verdict["predictor"] == LOG:
            share = better_on(verdict)
            least, of = map(int, share.split(" of "))
            yield Goal(
                f"{where}, `{LOG}`, training accuracy {verdict['log']}: error below that of "
                "training accuracy on every data set",
                f"on {share}",
                least == of,
            )
    for form, word in TRAINING.items():
        verdict = next(v for v in part["verdicts"] if (v["predictor"], v["log"]) == (SAMPLE, form))
        for group, times in ((MEAN, 2), (CONFIDENT, 3), ("wrong labels", 3)):
            scores = verdict["groups"][group]
            mine, theirs = scores["error"], scores[f"{word}_error"]
            what = "" if group == MEAN else f", {group}"
            yield Goal(
                f"{where}{what}, `{SAMPLE}`: {'half' if times == 2 else 'a third'} of the error "
                f"of training accuracy {form}",
                f"{mine:.1f} to {theirs:.1f} points",
                times * mine <= theirs,
            )
    yield Goal(
        f"{where}, `{SAMPLE}`: τ above .85",
        number(m[SAMPLE]["tau"], 2),
        m[SAMPLE]["tau"] > 0.85,
    )


def _intervals(part: Entry, cards: dict[str, Entry]) -> Iterator[Goal]:
    for verdict in reported(part):
        held = [scores["holds"] for scores in datasets_of(part, verdict).values()]
        inside = sum(0.85 <= share <= 0.95 for share in held)
        yield Goal(
            f"New data, `{verdict['predictor']}`: 90% intervals hold 85% to 95% on each data set",
            f"on {inside} of {len(held)}, from {min(held):.0%} to {max(held):.0%} of some "
            f"{round(part['networks'] / len(held))} networks each; "
            f"{verdict['groups'][MEAN]['holds']:.0%} on average",
            inside == len(held),
        )
    for features, card in cards.items():
        share = of_generated(card, "coverage")
        yield Goal(
            f"Generated tasks left out, `{features}`: 90% intervals hold 88% to 92%",
            f"{share:.1%}",
            0.88 <= share <= 0.92,
        )
    width = next(v for v in reported(part) if v["predictor"] == SAMPLE)["groups"][MEAN]["width"]
    yield Goal(
        f"New data, `{SAMPLE}`: intervals narrower than 15 points on average",
        f"{width:.0f} points",
        width < 15,
    )


def of_generated(card: Entry, key: str) -> float:
    """Return the mean over a card's kinds of networks on generated tasks, by their number."""
    quality = card["quality"]
    domains = quality.get("by_domain", {})
    parts = [d for name, d in domains.items() if name.startswith("universe")] or [quality]
    return float(np.average([d[key] for d in parts], weights=[d["n_networks"] for d in parts]))


def _checkpoints(part: Entry) -> Iterator[Goal]:
    lost = part["choices"]
    last = lost["the last"]
    verdict = next(v for v in reported(part) if v["predictor"] == SAMPLE)
    mine = lost[title_of(verdict)]
    yield Goal(
        f"New data, `{SAMPLE}`: the checkpoint with the highest estimate is at most as far from "
        "the best as the last one",
        f"{mine[ALL]:.2f} to {last[ALL]:.2f} points",
        mine[ALL] <= last[ALL],
    )
    for group in HARD:
        yield Goal(
            f"The same, {group}: half as far",
            f"{mine[group]:.2f} to {last[group]:.2f} points",
            2 * mine[group] <= last[group],
        )


def of_search(search: Entry) -> Iterator[Goal]:
    """Yield the goals of searches on new data."""
    title = title_of({"predictor": SAMPLE, "log": next(iter(TRAINING))})
    hasty, truth = search["schedules"]["hasty"], "test accuracy itself"
    lost, saved = hasty["lost"][title], hasty["saved"]
    yield Goal(
        f"Searches by halving on new data, `{SAMPLE}`: at most 0.5 points lost at 79% of the "
        "epochs saved",
        f"{lost['mean']:.2f} points ({lost['low']:.2f} to {lost['high']:.2f}) at {saved:.0%}; "
        f"{truth} loses {hasty['lost'][truth]['mean']:.2f}",
        lost["mean"] <= 0.5 and round(saved, 2) >= 0.79,
    )
    last, mine = search["choices"]["the last"], search["choices"][title]
    for group, times in ((ALL, 1), ("overfitted", 2)):
        if group not in last:
            yield Goal(f"Runs of these searches, {group}", "no such runs", None)
            continue
        yield Goal(
            f"Runs of these searches, {group}, `{SAMPLE}`: the checkpoint with the highest "
            f"estimate is at most {'as' if times == 1 else 'half as'} far from the best as the "
            "last one",
            f"{mine[group]:.2f} to {last[group]:.2f} points",
            times * mine[group] <= last[group],
        )


def _known_data(quality: Entry) -> Iterator[Goal]:
    for features, before in EARLIER.items():
        now = {e["group"]: e["r2"] for e in quality["scores"] if e["column"] == OURS[features]}
        pairs = [(name, *now[name], r2) for name, r2 in before.items() if name in now]
        yield Goal(
            f"Known data, `{features}`: R² no worse than before, beyond chance",
            "; ".join(
                f"{name} {value:.3f} ({low:.3f} to {high:.3f}; was {r2:.3f})"
                for name, value, low, high, r2 in pairs
            ),
            all(high >= r2 for _, _, _, high, r2 in pairs) if pairs else None,
        )


def _retraining(found: list[Entry]) -> Iterator[Goal]:
    def error(dataset: str, size: int, way: str) -> float:
        values = [
            e["error"] for e in found if (e["dataset"], e["runs"], e["way"]) == (dataset, size, way)
        ]
        return float(np.mean(values)) if values else float("inf")

    cases = list(dict.fromkeys((e["dataset"], e["runs"]) for e in found))
    halves = {d: (error(d, 30, "corrected"), error(d, 30, "as it is")) for d, n in cases if n == 30}
    yield Goal(
        "Retraining on 30 runs: half the error of the predictor as it is",
        "; ".join(f"{name} {a:.1f} to {b:.1f} points" for name, (a, b) in halves.items()),
        all(2 * a <= b for a, b in halves.values()),
    )
    worse = [
        f"{d}, {n} runs"
        for d, n in cases
        if round(error(d, n, "corrected"), 1)
        > round(min(error(d, n, "anchor"), error(d, n, "from scratch")), 1)
    ]
    yield Goal(
        "Retraining: never worse than the better of `anchor` and `--from-scratch`",
        f"better or as good in {len(cases) - len(worse)} of {len(cases)} cases"
        + (f"; worse: {', '.join(worse)}" if worse else ""),
        not worse,
    )
