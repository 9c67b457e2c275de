from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accuracy_from_weights.errors import AccuracyFromWeightsError
from accuracy_from_weights.stopping import (
    Decision,
    Diverged,
    FirstOf,
    Hopeless,
    Patience,
    Plateau,
    StoppingRule,
    StopReason,
    best_so_far,
)


@dataclass(frozen=True)
class Est:
    accuracy: float
    low: float = 0.0
    high: float = 1.0
    in_family: bool = True
    condition: str = "ok"


def around(accuracy: float, half: float = 0.05, **more) -> Est:
    return Est(accuracy, max(accuracy - half, 0.0), min(accuracy + half, 1.0), **more)


def stopped_at(rule: StoppingRule, estimates: list[Est]) -> int | None:
    for step, estimate in enumerate(estimates):
        if rule.update(estimate, step):
            return step
    return None


def test_patience_counts_estimates_without_a_rise():
    rule = Patience(patience=2)
    assert stopped_at(rule, [around(a) for a in (0.3, 0.5, 0.4, 0.5, 0.6)]) == 3


def test_patience_starts_again_at_each_rise():
    assert stopped_at(Patience(2), [around(a) for a in (0.3, 0.2, 0.4, 0.3, 0.5, 0.4)]) is None


def test_patience_says_why_with_the_numbers():
    rule = Patience(1)
    rule.update(around(0.75), 4)
    decision = rule.update(around(0.5), 5)
    assert decision.stop
    assert decision.reason is StopReason.NO_IMPROVEMENT
    assert str(decision.reason) == "no improvement"
    assert "0.7500" in decision.text
    assert "step 4" in decision.text


def test_a_rise_below_min_delta_is_none():
    values = [around(a) for a in (0.50, 0.51, 0.52, 0.53)]
    assert stopped_at(Patience(2, min_delta=0.02), values) == 2
    assert stopped_at(Patience(2), values) is None


def test_patience_on_the_low_end_takes_no_rise_that_comes_with_doubt():
    doubtful = [Est(0.5, 0.45, 0.55), Est(0.6, 0.3, 0.9), Est(0.7, 0.2, 1.0)]
    assert stopped_at(Patience(2), doubtful) is None
    assert stopped_at(Patience(2, bound="low"), doubtful) == 2
    assert stopped_at(Patience(2, bound="high"), doubtful) is None


def test_patience_can_pass_over_what_lies_outside_the_family():
    run = [around(0.5), around(0.9, in_family=False), around(0.4), around(0.45)]
    assert stopped_at(Patience(2, only_in_family=True), run) == 3
    assert stopped_at(Patience(3), run) is None


def test_plateau_compares_the_spread_with_the_interval():
    level = [0.70, 0.71, 0.70, 0.705]
    wide = [around(a, 0.1) for a in level]
    narrow = [around(a, 0.01) for a in level]
    assert stopped_at(Plateau(window=4, share=0.1), wide) == 3
    assert stopped_at(Plateau(window=4, share=0.1), narrow) is None


def test_a_falling_run_is_no_plateau():
    falling = [around(0.9 - 0.1 * at) for at in range(6)]
    assert stopped_at(Plateau(window=3), falling) is None


def test_plateau_looks_at_the_last_estimates_only():
    run = [around(a) for a in (0.1, 0.5, 0.8, 0.8, 0.8)]
    decision = None
    rule = Plateau(window=3)
    for step, estimate in enumerate(run):
        decision = rule.update(estimate, step)
    assert decision is not None
    assert decision.reason is StopReason.PLATEAU


def test_hopeless_wants_the_top_below_the_bar_several_times_in_a_row():
    run = [Est(0.2, 0.1, 0.3), Est(0.5, 0.3, 0.7), Est(0.2, 0.1, 0.3), Est(0.3, 0.2, 0.4)]
    assert stopped_at(Hopeless(0.6, patience=2), run) == 3
    assert stopped_at(Hopeless(0.6, patience=1), run) == 0
    assert stopped_at(Hopeless(0.35, patience=2), run) is None


def test_hopeless_judges_nobody_before_after():
    low = [Est(0.1, 0.0, 0.2)] * 6
    assert stopped_at(Hopeless(0.5, patience=1, after=4), low) == 4


def test_hopeless_takes_a_bar_that_moves_with_the_step():
    runs = [{0: 0.1, 5: 0.6}, {0: 0.2, 5: 0.8}, {1: 0.4, 5: 0.7}]
    bar = best_so_far(runs)
    assert bar(0) == pytest.approx(0.15)
    assert bar(1) == pytest.approx(0.2)
    assert bar(9) == pytest.approx(0.7)
    rule = Hopeless(bar, patience=1)
    assert not rule.update(Est(0.15, 0.1, 0.3), 0)
    decision = rule.update(Est(0.3, 0.2, 0.5), 5)
    assert decision.stop
    assert decision.reason is StopReason.HOPELESS
    assert "0.7000" in decision.text


def test_the_bar_knows_nothing_before_any_run_has_and_learns_of_new_runs():
    runs: list[dict[float, float]] = []
    bar = best_so_far(runs, quantile=1.0)
    assert math.isnan(bar(3))
    assert not Hopeless(bar, patience=1).update(Est(0.0, 0.0, 0.0), 3)
    assert not Hopeless(lambda step: None, patience=1).update(Est(0.0, 0.0, 0.0), 3)
    runs.append({2: 0.9})
    assert bar(3) == 0.9


def test_hopeless_may_judge_the_forecast_alone_and_among_others():
    low, high = around(0.4), around(0.9)
    rule = Hopeless(0.8, patience=1, horizon="final")
    assert rule.reads_forecast
    assert not rule.decide(low, None, 0)  # nothing to judge
    assert not rule.decide(low, high, 1)
    decision = rule.decide(high, low, 2)
    assert decision.reason is StopReason.HOPELESS
    assert decision.text.startswith("the forecast's top, 0.4500 at step 2")
    several = FirstOf(Patience(1), rule)
    assert several.reads_forecast
    assert not several.decide(low, high, 0)
    assert several.decide(low, high, 1).reason is StopReason.NO_IMPROVEMENT
    several.reset()
    assert several.decide(low, low, 0).reason is StopReason.HOPELESS
    assert not FirstOf(Patience(1), Hopeless(0.8)).reads_forecast


def test_diverged_stops_at_once_and_only_then():
    rule = Diverged()
    assert not rule.update(around(0.1), 0)
    decision = rule.update(around(0.1, condition="diverged"), 1)
    assert decision == Decision(True, StopReason.DIVERGED, decision.text)
    assert "NaN" in decision.text


def test_first_of_gives_the_reason_of_the_rule_that_stopped():
    rule = FirstOf(Patience(10), Hopeless(0.9, patience=2), Diverged())
    assert not rule.update(around(0.1), 0)
    assert rule.update(around(0.1), 1).reason is StopReason.HOPELESS


def fresh_rules() -> list[StoppingRule]:
    return [
        Patience(3),
        Patience(2, bound="low", only_in_family=True),
        Plateau(3, 0.3),
        Hopeless(0.6, patience=3),
        Diverged(),
        FirstOf(Patience(4), Plateau(4), Hopeless(0.3)),
    ]


estimates = st.builds(
    lambda accuracy, half, inside, fine: around(
        accuracy, half, in_family=inside, condition="ok" if fine else "diverged"
    ),
    st.floats(0, 1),
    st.floats(0, 0.5),
    st.booleans(),
    st.integers(0, 9).map(bool),
)


@given(st.lists(estimates, min_size=1, max_size=25), st.integers(0, 25), st.integers(0, 5))
def test_a_rule_restored_from_json_decides_as_one_that_was_never_saved(run, cut, which):
    whole, first, second = (fresh_rules()[which] for _ in range(3))
    expected = [whole.update(estimate, step) for step, estimate in enumerate(run)]
    got = [first.update(estimate, step) for step, estimate in enumerate(run[:cut])]
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    got += [second.update(estimate, cut + step) for step, estimate in enumerate(run[cut:])]
    assert got == expected


@given(st.lists(estimates, max_size=12), st.lists(estimates, max_size=12), st.integers(0, 5))
def test_a_reset_rule_decides_as_a_new_one(before, run, which):
    used, new = fresh_rules()[which], fresh_rules()[which]
    for step, estimate in enumerate(before):
        used.update(estimate, step)
    used.reset()
    for step, estimate in enumerate(run):
        assert used.update(estimate, step) == new.update(estimate, step)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Patience(0), r"=0` cannot be used; pass an integer of at least 1"),
        (lambda: Patience(True), r"=True` cannot be used; pass an integer of at least 1"),
        (lambda: Patience(2.5), r"=2.5` cannot be used; pass an integer of at least 1"),
        (
            lambda: Patience(bound="mean"),
            r"`bound='mean'` .* pass one of 'accuracy', 'low'",
        ),
        (lambda: Patience(min_delta=-1), r"=-1` cannot be used; pass a number from 0 to 1"),
        (lambda: Patience(only_in_family="no"), r"='no'` cannot be used; pass True or False"),
        (lambda: Plateau(1), "at least 2"),
        (lambda: Plateau(share=math.nan), r"=nan` cannot be used; pass a number from 0 to 1"),
        (lambda: Hopeless(75), r"=75` cannot be used; pass a number from 0 to 1"),
        (lambda: Hopeless(0.5, after=-1), r"=-1` cannot be used; pass a number of at least 0"),
        (
            lambda: Hopeless(0.5, horizon="end"),
            r"`horizon='end'` .* pass 'now' or 'final'",
        ),
        (lambda: best_so_far([], 2), r"=2` cannot be used; pass a number from 0 to 1"),
        (lambda: FirstOf(), "pass one or more stopping rules"),
        (lambda: FirstOf(Patience), "pass one or more stopping rules"),
    ],
)
def test_bad_arguments_are_told_with_what_was_expected(make, expected):
    with pytest.raises(AccuracyFromWeightsError, match=expected):
        make()
