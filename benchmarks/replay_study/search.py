"""A search over many runs, replayed: what drives it sees one signal and no truth."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.stopping import Hopeless

Floats = NDArray[np.float64]

N_RUNS = 32
DIVERGED = -1.0


@dataclass(frozen=True)
class Signal:
    """What is known of each run at each checkpoint.

    Attributes
    ----------
    value : ndarray of shape (n_runs, n_checkpoints)
        The higher the better; `DIVERGED` for a run that has diverged.
    high : ndarray of the same shape
        Top of the interval; the value itself where there is none.
    """

    value: Floats
    high: Floats

    @classmethod
    def exact(cls, value: Floats) -> Signal:
        """Make a signal without an interval."""
        return cls(value, value)


@dataclass(frozen=True)
class Outcome:
    """What a search cost and found, one number a draw.

    Attributes
    ----------
    saved : ndarray of shape (n_draws,)
        Share of the epochs of training all runs to the end.
    lost : ndarray of shape (n_draws,)
        Accuracy of the best run less that of the run found, in points.
    """

    saved: Floats
    lost: Floats


def draws_of(n_pool: int, n_draws: int, seed: int = 0) -> NDArray[np.intp]:
    """Draw the runs of each search, without replacement, shape (n_draws, N_RUNS)."""
    generator = np.random.default_rng(seed)
    size = min(N_RUNS, n_pool)
    return np.array([generator.permutation(n_pool)[:size] for _ in range(n_draws)])


def halve(
    signal: Signal,
    finals: Floats,
    progress: Floats,
    rungs: NDArray[np.intp],
    draws: NDArray[np.intp],
    seed: int = 0,
) -> Outcome:
    """Successive halving: at each rung the worse half ends; the best of the last is the find.

    Parameters
    ----------
    signal : Signal
    finals : ndarray of shape (n_runs,)
        True accuracy of each run at its end.
    progress : ndarray of shape (n_checkpoints,)
        Shares of the planned training.
    rungs : ndarray of int
        Checkpoints at which runs end.
    draws : ndarray of shape (n_draws, n)
    seed : int
        Of how ties are broken.
    """
    generator = np.random.default_rng(seed)
    saved, lost = np.empty((2, len(draws)))
    for k, pool in enumerate(draws):
        alive, spent, before = generator.permutation(pool), 0.0, 0.0
        for rung in (*rungs, len(progress) - 1):
            spent += len(alive) * (progress[rung] - before)
            before = progress[rung]
            order = np.argsort(-signal.value[alive, rung], kind="stable")
            last = rung == len(progress) - 1
            alive = alive[order[: 1 if last else max(1, len(alive) // 2)]]
        saved[k] = 1 - spent / len(pool)
        lost[k] = finals[pool].max() - finals[alive[0]]
    return Outcome(saved, 100 * lost)


def end_the_hopeless(
    signal: Signal,
    finals: Floats,
    progress: Floats,
    first: int,
    draws: NDArray[np.intp],
    seed: int = 0,
    quantile: float = 0.5,
) -> Outcome:
    """Train one run after the other; a run ends when `Hopeless` says so.

    The bar is `stopping.best_so_far` of the runs before it: the median of their best values by the
    same checkpoint. At least four runs come first.

    Parameters
    ----------
    first : int
        The first checkpoint that is judged.
    signal, finals, progress, draws, seed
        As in `halve`.
    quantile : float
        Of the other runs' values.
    """
    generator = np.random.default_rng(seed)
    saved, lost = np.empty((2, len(draws)))
    n_checkpoints = len(progress)
    for k, pool in enumerate(draws):
        best = np.full((len(pool), n_checkpoints), np.nan)
        spent, ends = 0.0, np.full(len(pool), -np.inf)
        pool = generator.permutation(pool)
        for place, run in enumerate(pool):
            bars = np.quantile(best[:place], quantile, axis=0) if place >= 4 else None
            rule = Hopeless(lambda c, b=bars: np.nan if b is None else b[int(c)], 1, first)
            last = n_checkpoints - 1
            for c in range(first, n_checkpoints - 1):
                seen = SimpleNamespace(high=signal.high[run, c])
                if rule.update(seen, c).stop:
                    last = c
                    break
            spent += progress[last]
            values = np.maximum.accumulate(signal.value[run])
            best[place] = np.where(np.arange(n_checkpoints) <= last, values, values[last])
            if last == n_checkpoints - 1:
                ends[place] = signal.value[run, last]
        saved[k] = 1 - spent / len(pool)
        lost[k] = finals[pool].max() - finals[pool[np.argmax(ends)]]
    return Outcome(saved, 100 * lost)


def mean_with_spread(values: Floats, seed: int = 0) -> tuple[float, float, float]:
    """Mean, and the ends of its 95% bootstrap interval over draws."""
    generator = np.random.default_rng(seed)
    means = values[generator.integers(len(values), size=(1000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)
