"""A strategy for Flower that estimates every client's update on the server."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from accuracy_from_weights.callbacks.base import Predictor
from accuracy_from_weights.callbacks.judging import Judge
from accuracy_from_weights.errors import flag, invalid_argument, number_between, warn
from accuracy_from_weights.io.logged_names import DEFAULT_NAME

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.estimate import Estimate

__all__ = ["AccuracyFromWeights", "Update"]


@dataclass(frozen=True)
class Update:
    """A client's update of one round, with its estimate.

    Attributes
    ----------
    server_round
        Counted from 1.
    node_id
        The client.
    estimate
        None where none could be made.
    left_out
        Whether it was kept from the aggregation.
    """

    server_round: int
    node_id: int
    estimate: Estimate | None
    left_out: bool


class AccuracyFromWeights(Strategy):
    """Estimate every client's update from its weights, log it, and leave out the bad ones.

    Wraps any strategy of Flower's message API, which still chooses clients and aggregates::

        strategy = AccuracyFromWeights(FedAvg(), only_sound=True)
        strategy.start(grid, initial_arrays=ArrayRecord(model.state_dict()), num_rounds=10)

    The server needs no data. To the round's training metrics are added ``accuracy_from_weights``
    with ``_low``, ``_high`` (fractions in [0, 1]) and ``_in_family`` (0 or 1) of the aggregated
    model, the lists ``_clients`` (estimates) and ``_client_ids`` of its updates, and
    ``_n_left_out``.

    Parameters
    ----------
    strategy
        What aggregates the updates that are kept.
    predictor
        An `AccuracyPredictor` that reads weights alone, the path of a saved one, or None for the
        one that ships. Defaults to None.
    bound
        Leave out updates whose estimate is below this accuracy, fraction in [0, 1]; in a round in
        which all are, none is. Its level has to be right, so a predictor retrained or anchored on
        networks of the task is called for. Defaults to None.
    below_best
        Leave out updates whose estimate is more than this below the best of the round, fraction in
        [0, 1]; ranking is enough for it. Defaults to None.
    only_sound
        Leave out updates whose weights plainly say that they are untrained, collapsed to one answer
        or dead, and those outside the predictor's family where most of the round is within it.
        Defaults to False. Without any of the three, nothing is left out.
    names
        Names of the arrays, in order, where clients send a plain list of them: ``list(
        model.state_dict())`` in PyTorch, ``[v.path for v in model.weights]`` in Keras. Defaults to
        the names in the record, which a state dict gives.

    Attributes
    ----------
    updates
        A list with an `Update` for each reply of each round.

    Raises
    ------
    InvalidArgumentError
        When `strategy` is none, a bound is no fraction, or the predictor reads more than weights.

    Notes
    -----
    An update whose estimate fails is kept, with one warning. At least one update of a round is
    always kept. With any of the three rules, updates whose weights hold NaN or infinity are left
    out first.
    """

    def __init__(
        self,
        strategy: Strategy,
        predictor: Predictor | str | os.PathLike[str] | None = None,
        *,
        bound: float | None = None,
        below_best: float | None = None,
        only_sound: bool = False,
        names: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(strategy, Strategy):
            raise invalid_argument(
                "strategy", strategy, "a strategy of flwr.serverapp.strategy, such as FedAvg()"
            )
        self.strategy = strategy
        self.bound = None if bound is None else number_between("bound", bound, 0, 1)
        self.below_best = (
            None if below_best is None else number_between("below_best", below_best, 0, 1)
        )
        self.only_sound = flag("only_sound", only_sound)
        self.names = None if names is None else tuple(names)
        self.updates: list[Update] = []
        self._judge = Judge(predictor, "weights")
        self._has_warned = False

    def summary(self) -> None:
        """Log the wrapped strategy's summary."""
        self.strategy.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Leave it to the wrapped strategy."""
        return self.strategy.configure_train(server_round, arrays, config, grid)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Leave it to the wrapped strategy."""
        return self.strategy.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Leave it to the wrapped strategy."""
        return self.strategy.aggregate_evaluate(server_round, replies)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Estimate the updates, have those aggregated that are kept, and add to the metrics."""
        replies = list(replies)
        judged = [reply for reply in replies if not reply.has_error()]
        estimates = [self._estimate_reply(reply) for reply in judged]
        out = _leave_out(estimates, self.bound, self.below_best, self.only_sound)
        round_updates = [
            Update(server_round, reply.metadata.src_node_id, estimate, left_out)
            for reply, estimate, left_out in zip(judged, estimates, out, strict=True)
        ]
        self.updates += round_updates
        left_out = {id(reply) for reply, is_out in zip(judged, out, strict=True) if is_out}
        kept = [reply for reply in replies if id(reply) not in left_out]
        arrays, metrics = self.strategy.aggregate_train(server_round, kept)
        if round_updates:
            metrics = MetricRecord() if metrics is None else metrics
            self._add_to(metrics, round_updates, arrays)
        return arrays, metrics

    def _estimate_reply(self, reply: Message) -> Estimate | None:
        records = list(reply.content.array_records.values())
        # With several, which of them is the model is for the wrapped strategy to say or refuse.
        return self._estimate(records[0], reply.metadata.src_node_id) if len(records) == 1 else None

    def _estimate(self, record: ArrayRecord, node_id: int | None) -> Estimate | None:
        try:
            names = record.keys() if self.names is None else self.names
            arrays = zip(names, (array.numpy() for array in record.values()), strict=True)
            return self._judge.judge(self._judge.load(), self._judge.describe(dict(arrays)))
        except Exception as error:  # noqa: BLE001 - a federation must not end because of us
            if not self._has_warned:
                self._has_warned = True
                whose = "the aggregated model" if node_id is None else f"client {node_id}"
                warn(
                    f"The weights of {whose} could not be estimated and are kept ({error}). "
                    "Such failures are not reported again."
                )
            return None

    def _add_to(
        self, metrics: MetricRecord, updates: Sequence[Update], arrays: ArrayRecord | None
    ) -> None:
        known = [update for update in updates if update.estimate is not None]
        numbers: dict[str, Any] = {"_n_left_out": sum(update.left_out for update in updates)}
        if known:
            numbers["_clients"] = [float(u.estimate.accuracy) for u in known if u.estimate]
            numbers["_client_ids"] = [update.node_id for update in known]
        whole = None if arrays is None else self._estimate(arrays, None)
        if whole is not None:
            numbers[""] = float(whole.accuracy)
            numbers["_low"], numbers["_high"] = float(whole.low), float(whole.high)
            numbers["_in_family"] = float(whole.in_family)
        for suffix, value in numbers.items():
            metrics[DEFAULT_NAME + suffix] = value


def _leave_out(
    estimates: Sequence[Estimate | None],
    bound: float | None,
    below_best: float | None,
    only_sound: bool,
) -> list[bool]:
    """Return which updates to leave out, which are never all of them.

    An update without an estimate is kept. Where every update is below `bound`, as in a first round,
    it decides nothing. With any of the rules, updates whose weights hold NaN or infinity are left
    out, unless there is no other.
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
