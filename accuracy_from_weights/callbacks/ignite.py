"""The estimate in PyTorch Ignite's engines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ignite.engine import Engine, Events

from accuracy_from_weights._arguments import InvalidArgumentError
from accuracy_from_weights.callbacks._epoch import DEFAULT_NAME, EpochEstimator, Estimator

if TYPE_CHECKING:
    from accuracy_from_weights.stopping import Decision, StoppingRule

__all__ = ["AccuracyFromWeights"]


class AccuracyFromWeights:
    """Add an estimate of the accuracy, made from the weights alone, to a trainer's metrics.

    At the end of each epoch ``trainer.state.metrics`` gains ``accuracy_from_weights`` with
    ``_low``, ``_high`` (fractions in [0, 1]) and ``_in_family`` (0 or 1), with or without an
    evaluator. Training is bit for bit what it is without it.

    Attach it **before** the handlers that use it, and those to the trainer::

        AccuracyFromWeights().attach(trainer, model)
        score = Checkpoint.get_default_score_fn("accuracy_from_weights")
        best = Checkpoint({"model": model}, "folder", score_function=score, n_saved=1)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, best)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, EarlyStopping(3, score, trainer))

    Parameters
    ----------
    predictor
        An `AccuracyPredictor`, the path of a saved one, or None for the one that ships, which is
        loaded at the first epoch. Defaults to None.
    every_n_epochs
        Estimate at epochs 0, n, 2n, ... (Ignite counts from 1); between them the last value is
        repeated. Defaults to 1.
    name
        The key of the accuracy and the stem of the others. Defaults to
        ``"accuracy_from_weights"``.
    stopping
        A rule from `accuracy_from_weights.stopping` that is told each new estimate and may end
        the run; its reason is printed. Defaults to None.
    verbose
        Whether to print each new estimate. Defaults to False.

    Attributes
    ----------
    decision
        The stopping rule's last `Decision`, with its reason; None without a rule.

    Notes
    -----
    It can be saved with the rest: ``Checkpoint({"model": model, "estimate": ours}, ...)``.

    When an estimate fails, whatever the cause, there is one warning and training goes on. The
    last known accuracy (0 where there is none) stands in, with the interval [0, 1] and
    ``_in_family`` 0. Ignite's EarlyStopping keeps to itself what it watches, so such an epoch does
    count against its patience; a rule in `stopping` does not hear of it.
    """

    def __init__(
        self,
        predictor: Estimator | str | os.PathLike[str] | None = None,
        every_n_epochs: int = 1,
        name: str = DEFAULT_NAME,
        stopping: StoppingRule | None = None,
        verbose: bool = False,
    ) -> None:
        self._epochs = EpochEstimator(
            type(self).__name__, predictor, every_n_epochs, name, stopping, verbose
        )

    @property
    def decision(self) -> Decision | None:
        """The stopping rule's last decision; None without a rule."""
        return self._epochs.decision

    def attach(self, trainer: Engine, model: Any) -> AccuracyFromWeights:
        """Have `trainer` estimate `model` at the end of each epoch.

        Parameters
        ----------
        trainer
            The engine that trains.
        model
            The `torch.nn.Module` that it trains.

        Returns
        -------
        This object, for keeping: ``ours = AccuracyFromWeights().attach(trainer, model)``.

        Raises
        ------
        InvalidArgumentError
            When `trainer` is no Ignite engine.
        """
        if not isinstance(trainer, Engine):
            raise InvalidArgumentError(
                "Invalid value for argument `trainer`. Expected the ignite.engine.Engine that "
                f"trains. Received: {trainer!r}."
            )
        trainer.add_event_handler(Events.STARTED, self._start)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._estimate, model)
        return self

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, loadable with ``weights_only=True``."""
        return self._epochs.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self._epochs.load_state_dict(state_dict)

    def _start(self, engine: Engine) -> None:
        if engine.state.epoch == 0:
            self._epochs.begin(resumed=False)

    def _estimate(self, engine: Engine, model: Any) -> None:
        seen = self._epochs.observe(lambda: model, engine.state.epoch - 1)
        engine.state.metrics.update(seen.values)
        if self._epochs.should_stop:
            engine.terminate()
