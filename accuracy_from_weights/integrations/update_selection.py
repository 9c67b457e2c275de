"""Selection of the updates of a federated round, from their estimates alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.estimate import Estimate


def leave_out(
    estimates: Sequence[Estimate | None],
    bound: float | None = None,
    below_best: float | None = None,
    only_sound: bool = False,
) -> list[bool]:
    """Return which updates to leave out, which are never all of them.

    Parameters
    ----------
    estimates
        One an update; None where none could be made, which is kept.
    bound
        Leave out those below this accuracy, fraction in [0, 1]. Where every update is below it, as
        in a first round, it decides nothing.
    below_best
        Leave out those more than this below the best of the round, fraction in [0, 1].
    only_sound
        Leave out those whose condition is not ``"ok"``, and those outside the predictor's family
        where most of the round is within it.

    Returns
    -------
    A boolean an update. Without any rule all are False; with one, updates whose weights hold NaN or
    infinity are left out, unless there is no other.
    """
    if bound is None and below_best is None and not only_sound:
        return [False] * len(estimates)
    finite = [at for at, e in enumerate(estimates) if e is None or e.condition != "diverged"]
    kept = finite or list(range(len(estimates)))
    if only_sound:
        kept = _sound(estimates, kept) or kept
    known = {at: e.accuracy for at in kept if (e := estimates[at]) is not None}
    bar = max(known.values(), default=0.0) - (1.0 if below_best is None else below_best)
    if bound is not None and max(known.values(), default=0.0) >= bound:
        bar = max(bar, bound)
    kept = [at for at in kept if known.get(at, bar) >= bar]
    return [at not in kept for at in range(len(estimates))]


def _sound(estimates: Sequence[Estimate | None], among: Sequence[int]) -> list[int]:
    healthy = [at for at in among if (e := estimates[at]) is None or e.condition == "ok"]
    strange = [at for at in healthy if (e := estimates[at]) is not None and not e.in_family]
    if 2 * len(strange) >= len(healthy):
        return healthy  # it is the predictor that does not know these networks
    return [at for at in healthy if at not in strange]
