"""The base class of all callbacks, and the way to add a framework; see docs/new_framework.md.

A training run must never end because of this package, and nothing that it logs may be NaN, since
frameworks stop or crash on one. So all that can fail happens in `AccuracyCallback.estimate_epoch`,
which always returns finite numbers and says whether they are known, and each hook that a framework
calls is decorated with `guarded`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accuracy_from_weights.callbacks.cadence import Cadence
from accuracy_from_weights.callbacks.chart import Chart
from accuracy_from_weights.callbacks.evidence import LogReader, undisturbed
from accuracy_from_weights.callbacks.failures import guarded
from accuracy_from_weights.callbacks.forecasts import Forecasts
from accuracy_from_weights.callbacks.hooks import Hooks
from accuracy_from_weights.callbacks.judging import Judge, Predictor, Row
from accuracy_from_weights.callbacks.observation import Observation, report, share_done
from accuracy_from_weights.callbacks.other_callbacks import Watcher, complaints, hold_patience
from accuracy_from_weights.callbacks.truths import Truths
from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.io.logged_names import ANCHOR_SUFFIX, FINAL_SUFFIXES, SUFFIXES
from accuracy_from_weights.stopping import Decision

if TYPE_CHECKING:
    from accuracy_from_weights.predictor.estimate import Estimate

__all__ = ["AccuracyCallback", "Observation", "Predictor", "guarded", "share_done"]


class AccuracyCallback(Hooks):
    """Base class of the callbacks: an estimate of the accuracy at each epoch of a training run.

    The callback of a framework derives from this class, and from the framework's own class of
    callbacks where there is one. It calls `start_run` and `estimate_epoch` from the framework's
    hooks, writes the numbers where the framework keeps its metrics, and overrides those of `Hooks`
    to which the framework has an answer.

    Attributes
    ----------
    decision
        The stopping rule's last `Decision`, with its reason; None without a rule.
    should_stop
        Whether the rule has decided to end the run. Once True, it stays.
    """

    def _set_up(self) -> None:
        self._said = set()
        self.check_parameters()
        self._own_keys = tuple(self.name + suffix for suffix in SUFFIXES)
        self._cadence = Cadence(self.every_n_epochs)
        self._held: dict[int, int] = {}
        self._forecasts = Forecasts(bool(self.forecast), self.name, self, self.forecast_advice)
        self._truths = Truths(self.anchor_every, self, self.anchor_advice)
        self._judge = Judge(
            self.predictor,
            self.features,
            input_shape=self.input_shape,
            sample=self.sample,
            needs_anchor=self.anchor_every is not None,
            part=self.part,
        )
        self._chart = Chart(self.chart_to, self.name)
        advice = None if self._judge.wants_sample else self.log_advice
        self._reader = LogReader(self.log_keys, self.anchor_on, advice, self.warn_once)
        self._decision: Decision | None = None
        self._values: dict[str, float] | None = None
        self._failed = self._is_repeated = False
        self._task: str | None = None
        self._classifies = True

    def start_run(self, resumed: bool = False) -> None:
        """Forget the last run, except for what a resumed run goes on with if `resumed`."""
        self._values, self._failed = None, False
        self._judge.start_run(resumed)
        self._cadence.start_run(resumed)
        self._task, self._classifies = None, True
        self._forecasts.clear()
        if not resumed:
            self._decision = None
            self._truths.clear()
            self._chart.clear()
            if self.stopping is not None:
                self.guard("resetting the stopping rule", self.stopping.reset)

    @property
    def wants_batch(self) -> bool:
        """Whether a batch of training examples is still needed; see `see_batch`."""
        return self._judge.lacks_shape or self._judge.lacks_examples

    def see_batch(self, batch: Any) -> None:
        """Take the shape of an input and training examples from a batch, if `wants_batch`.

        A batch is ``(inputs, classes)``, or a mapping with the classes under a usual name, such as
        "labels".
        """
        judge, topic = self._judge, "the estimate"
        if judge.lacks_shape:
            self.guard("reading the shape of a batch", lambda: judge.take_shape(batch), topic)
        if judge.lacks_examples:
            self.guard("keeping training examples", lambda: judge.take_examples(batch), topic)

    def estimate_epoch(
        self, run: Any, epoch: int, step: float | None = None, is_due: bool | None = None
    ) -> Observation:
        """Estimate if `epoch` is due, else repeat the last value. Never raises an `Exception`.

        Parameters
        ----------
        run
            What the hooks are given.
        epoch
            Counted from 0; decides whether an estimate is due.
        step
            What the stopping rule takes for the time. Defaults to `epoch`.
        is_due
            Whether an estimate and a truth are due, whatever the epoch. Defaults to what
            `every_n_epochs` and `anchor_every` say.
        """
        what = "deciding whether an estimate is due"
        if (is_due or self.guard(what, lambda: self._is_due(run, epoch))) is False:
            # Of a number that is given, the user knows what it costs early stopping.
            self._is_repeated = self.every_n_epochs is None
            return self._observation()
        self._is_repeated = False
        self._held.clear()
        with self._cadence.counted():
            # First, since in some frameworks it is something that all processes do together.
            log = self._training_log(run)
            wants_truth = is_due or self._truths.due(epoch)
            estimate = None
            self._forecasts.miss()
            if not self._is_blind(log) and self._classifies:
                estimate = self.guard(
                    f"the estimate of epoch {epoch}",
                    lambda: self._estimate(run, epoch, log, wants_truth),
                )
            self._failed = estimate is None
            if estimate is not None:
                self._take(estimate, epoch, step)
                at = epoch if step is None else step
                self.guard("the chart", lambda: self._draw(run, epoch, at))
        return self._observation()

    def learn_truth(self, run: Any, epoch: int) -> None:
        """Take a truth that came after the estimate of its epoch, for the anchor and the chart."""
        self.guard("the chart", lambda: self._chart.learn(epoch, lambda: self._validated(run)))
        if not self._truths.due(epoch) or (self.every_n_epochs and epoch % self.every_n_epochs):
            return
        accuracy = self.guard("getting the true accuracy", lambda: self.true_accuracy(run))
        log = self._training_log(run) if accuracy is not None else None
        if accuracy is not None and not self._is_blind(log):
            with self._cadence.counted():
                self.guard(
                    f"the estimate of epoch {epoch}",
                    lambda: self._learn(epoch, self._describe(run, log), lambda: accuracy),
                )

    def true_accuracy(self, run: Any) -> float | None:
        """Return what `validate` measures or validation has found; None where there is nothing."""
        if self.validate is None:
            return self._validated(run)
        network = self.network(run)
        with undisturbed(network):
            return self.measure(network)

    def hold_patience(
        self, others: Iterable[Any], counter: str, patience: str = "patience"
    ) -> None:
        """Keep a value that is repeated from costing others their patience.

        Parameters
        ----------
        others
            Those that monitor one of an observation's `stand_ins`.
        counter, patience
            The attributes that hold how long they have waited, and how long they wait.
        """
        self.guard(
            "holding the patience of other callbacks",
            lambda: hold_patience(others, counter, patience, self._held),
        )

    def review(self, found: Iterable[Watcher], callbacks: Iterable[Any]) -> None:
        """Warn about others in the run that monitor the estimate in a way that cannot work.

        Parameters
        ----------
        found
            What others monitor; see `other_callbacks.watchers`.
        callbacks
            All callbacks in the run, this one among them.
        """
        ours = [callback for callback in callbacks if isinstance(callback, AccuracyCallback)]
        all_keys = [key for callback in ours for key in callback.all_keys]
        finals = [self.name + suffix for suffix in FINAL_SUFFIXES]
        for text in complaints(found, self.all_keys, all_keys, finals):
            self.warn_once(text, text)

    def those_before(self, callbacks: Sequence[Any]) -> Sequence[Any]:
        """Return those of a run's callbacks that stand before this one."""
        return callbacks[: next((at for at, one in enumerate(callbacks) if one is self), 0)]

    def warn_of_place(self, other: Any) -> None:
        """Warn about a callback that uses the estimate and stands before this one."""
        text = (
            f"{type(other).__name__} stands before it in the list of callbacks and will not see "
            f"{self.name!r}. Put AccuracyFromWeights first."
        )
        self.warn_once(text, text)

    @property
    def decision(self) -> Decision | None:
        """The stopping rule's last decision; None without a rule."""
        return self._decision

    @property
    def should_stop(self) -> bool:
        """Whether the stopping rule has decided to end the run."""
        return self._decision is not None and self._decision.stop

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of what is estimated and forecast."""
        return (*self._own_keys, *self._forecasts.keys)

    @property
    def all_keys(self) -> tuple[str, ...]:
        """All names that may be logged, that of the anchor among them."""
        return (*self.keys, self.name + ANCHOR_SUFFIX)

    def nothing_known(self) -> dict[str, float]:
        """Return the four numbers for a network of which there is no estimate."""
        return dict(zip(self._own_keys, (0.0, 0.0, 1.0, 0.0), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, in plain numbers, strings, lists and dicts.

        Empty, with a warning, where a stopping rule of the user's own does not give that.
        """
        return self.guard("keeping the state", self._state) or {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` returned; warn about one that does not fit."""
        self.guard("taking up the saved state", lambda: self._load_state(state_dict))

    # Inside.

    def _state(self) -> Any:
        state = {
            "values": self._values,
            "failed": self._failed,
            "stopping": None if self.stopping is None else self.stopping.state_dict(),
            "truths": self._truths.state_dict(),
            "forecast": self._forecasts.state_dict(),
            "chart": self._chart.state_dict(),
        }
        # Some frameworks write JSON, others files that hold nothing but plain values: what a rule
        # keeps has to survive both, and an error now is better than one in the framework's saving.
        return json.loads(json.dumps(state))

    def _load_state(self, state: Mapping[str, Any]) -> None:
        values = state.get("values")
        if values is not None:
            self._values = {key: float(values[key]) for key in self._own_keys}
        self._failed = bool(state.get("failed", False))
        if self.stopping is not None and state.get("stopping") is not None:
            self.stopping.load_state_dict(state["stopping"])
        self._truths.load_state_dict(state.get("truths", []))
        self._forecasts.load_state_dict(state.get("forecast"))
        self._chart.load_state_dict(state.get("chart", []))

    def _training_log(self, run: Any) -> Mapping[str, float] | None:
        if not self._judge.wants_log:
            return None
        found: dict[str, float] | None = self.guard(
            "reading the training log", lambda: self._reader.training(self.training_metrics(run))
        )
        if found is not None:
            number = self.guard("counting the training samples", lambda: self.n_samples(run))
            found = found if number is None else {**found, "samples": number}
        return found

    def _is_due(self, run: Any, epoch: int) -> bool:  # and where that fails, there is an estimate
        is_due = self._cadence.allows(epoch)
        if self.every_n_epochs is not None:
            return is_due or self._values is None
        has_truth = self._truths.due(epoch) and (
            self.validate is not None or self._validated(run) is not None
        )
        is_last = (self._share_done(run, epoch) or 0.0) >= 1.0
        return bool(self.agree(run, is_due or has_truth or is_last))

    def _is_blind(self, log: Mapping[str, float] | None) -> bool:
        """Return whether the training accuracy is missing, which a predictor takes for guessing."""
        judge = self._judge
        return judge.wants_log and not judge.wants_sample and "accuracy" not in (log or {})

    def _describe(self, run: Any, log: Mapping[str, float] | None) -> Row:
        if self._task is None:
            try:
                # What the run trains for as a whole says nothing about a part of it.
                self._task = self.task or (None if self.part else self.declared_task(run))
            except UnsupportedModelError:
                self._classifies = False  # and will not in a later epoch
                raise
        return self._judge.describe(self.network(run), log, self._task)

    def _learn(self, epoch: int, row: Row, truth: Callable[[], float | None]) -> None:
        plain = self._judge.judge(self._judge.load(), row)
        with self._cadence.uncounted():
            self._truths.learn(epoch, plain, truth)

    def _estimate(
        self, run: Any, epoch: int, log: Mapping[str, float] | None, wants_truth: bool
    ) -> Estimate:
        judge, predictor = self._judge, self._judge.load()
        row = self._describe(run, log)
        if wants_truth:
            self._learn(epoch, row, lambda: self.true_accuracy(run))
        anchored = self.guard("anchoring", lambda: self._truths.anchor(predictor)) or predictor
        estimate = judge.judge(anchored, row)
        self._forecasts.make(
            lambda done: judge.judge(anchored, row, done),
            lambda: self._share_done(run, epoch),
            epoch,
        )
        return estimate

    def _share_done(self, run: Any, epoch: int) -> float | None:
        if self.planned_epochs is not None:
            return share_done(epoch + 1, self.planned_epochs)
        return self.progress(run)

    def _take(self, estimate: Estimate, epoch: int, step: float | None) -> None:
        numbers = (estimate.accuracy, estimate.low, estimate.high, estimate.in_family)
        self._values = dict(zip(self._own_keys, map(float, numbers), strict=True))
        self.guard("reporting the estimate", lambda: report(self, estimate, epoch))
        if self.stopping is not None and not self.should_stop:
            time = epoch if step is None else step
            self.guard("the stopping rule", lambda: self._decide(estimate, float(time)))

    def _draw(self, run: Any, epoch: int, step: float) -> None:
        if self._chart.wanted:
            truth = self._truths.at(epoch)
            truth = self._validated(run) if truth is None else truth
            self._chart.add(step, self._observation().values, truth)

    def _validated(self, run: Any) -> float | None:
        return self._reader.validation(self.validation_metrics(run), self.validation_prefixes)

    def _decide(self, estimate: Estimate, step: float) -> None:
        rule = self.stopping
        decision = None if rule is None else rule.decide(estimate, self._forecasts.fresh, step)
        if not isinstance(decision, Decision):
            raise TypeError(f"{rule!r} returned {decision!r} instead of a Decision; return one")
        self._decision = decision
        if decision.stop:
            print(
                f"{type(self).__name__}: stopped at step {step:g} ({decision.reason}): "
                f"{decision.text}."
            )

    def _observation(self) -> Observation:
        known = self._values is not None
        values = self.nothing_known() if self._values is None else dict(self._values)
        if self._failed:
            values = {**self.nothing_known(), self.name: values[self.name]}
        values |= self._forecasts.values()
        stand_ins = (*(self._own_keys if self._failed else ()), *self._forecasts.stand_ins)
        if self._is_repeated:
            stand_ins = tuple(values)
        if self._truths.latest is not None:
            values[self.name + ANCHOR_SUFFIX] = self._truths.latest
        return Observation(values, known, self._failed, stand_ins)
