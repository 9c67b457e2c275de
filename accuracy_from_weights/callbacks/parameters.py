"""The parameters that all callbacks have, documented and checked once."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from accuracy_from_weights.callbacks.failures import Guarded
from accuracy_from_weights.callbacks.judging import Predictor
from accuracy_from_weights.errors import (
    InvalidArgumentError,
    flag,
    invalid_argument,
    positive_int,
)
from accuracy_from_weights.features.task import check_task
from accuracy_from_weights.io.logged_names import DEFAULT_NAME
from accuracy_from_weights.stopping import StoppingRule


class CommonParameters(Guarded):
    """Holder of the parameters that all callbacks have."""

    def __init__(
        self,
        predictor: Predictor | str | os.PathLike[str] | None = None,
        every_n_epochs: int | None = None,
        name: str = DEFAULT_NAME,
        stopping: StoppingRule | None = None,
        verbose: bool = False,
        *,
        features: str | None = None,
        task: str | None = None,
        part: str | None = None,
        input_shape: tuple[int, ...] | None = None,
        sample: tuple[Any, Any] | None = None,
        log_keys: tuple[str | None, str | None] | None = None,
        anchor_every: int | None = None,
        anchor_on: str | None = None,
        validate: Any = None,
        forecast: bool = False,
        planned_epochs: int | None = None,
        chart_to: Callable[[Any, int], Any] | None = None,
    ) -> None:
        """Check the arguments and load a predictor whose path is given.

        Parameters
        ----------
        predictor : AccuracyPredictor, path or None, default None
            None is the predictor that ships, which is loaded at the first epoch. An object of your
            own needs what `Predictor` lists.
        every_n_epochs : int, optional
            Estimate at epochs 0, n, 2n, ... and at the first epoch of a resumed run. Defaults to
            as many epochs as cost little: estimates take at most 10 s and 2% of the time of the
            training so far, but there is always one at the first epoch, at the last one that is
            planned, and where a true accuracy is there that `anchor_every` asks for. Between
            estimates the last value is repeated, so that no other callback misses its key. With a
            number, the patience of a framework's early stopping counts epochs; without, it counts
            estimates, as that of `stopping` does.
        name : str, default "accuracy_from_weights"
            Key of the accuracy and stem of the other keys. Callbacks with different names work
            side by side.
        stopping : StoppingRule, optional
            A rule from `accuracy_from_weights.stopping`. It is given each new estimate and may end
            the run; its reason is printed.
        verbose : bool, default False
            Whether to print each new estimate.
        features : str, optional
            What the predictor that ships reads. ``"weights"``: the weights alone.
            ``"weights+probes"``: also the network's answers to synthetic inputs.
            ``"weights+probes+log"``: also training accuracy and loss.
            ``"weights+probes+log+sample"``: also its answers on 256 training examples, which stand
            in where no training accuracy or loss is logged. Defaults to what `predictor` was fitted
            to; without one, to the last where `sample` is given, and else to ``"weights"``.
        task : {"binary", "multiclass"}, optional
            What the network is trained for, where neither it nor its loss tells. A network that is
            known to classify nothing (a regression, a detector, an autoencoder, ...) gets one
            warning and no estimate.
        part : str, optional
            Which network to estimate where the model holds several, such as a student and its
            teacher: the name of a module, a layer or an attribute, as in `estimate`. Defaults to
            the whole model.
        input_shape : tuple of int, optional
            For probes: shape of one example, without the batch axis. Defaults to that of the model
            or of the first batch.
        sample : (x, y), optional
            Training inputs as the network takes them and their classes, a few hundred, of which 256
            are chosen once a run. Defaults to the first batches that pass. Keras does not show
            them, so it needs `sample`; a loop of your own shows them by ``monitor.see_batch``.
        log_keys : (str or None, str or None), optional
            Names of the training accuracy and the training loss among what is logged. Defaults to
            a search for usual names.
        anchor_every : int, optional
            Anchor the estimates to true accuracies, at most one every n epochs: those that
            validation finds, or that `validate` measures. The last one is logged as
            ``accuracy_from_weights_anchor``. Defaults to no anchor.
        anchor_on : str, optional
            Name of the validation accuracy among what is logged. Defaults to a search for usual
            names.
        validate : callable, optional
            For `anchor_every`: a function of the network that returns its accuracy on validation
            data, a fraction. The network's mode and the random states are put back after it.
            Defaults to the validation of the framework.
        forecast : bool, default False
            Whether to log also what accuracy the run will end with, as
            ``accuracy_from_weights_final`` with ``_final_low`` and ``_final_high``, where the
            predictor can forecast.
        planned_epochs : int, optional
            For `forecast`: how many epochs the whole training is to have. Defaults to what the
            framework plans.
        chart_to : callable, optional
            Called as ``chart_to(figure, step)`` at each new estimate with a picture of the run so
            far: estimate, interval and, where the run measures it, the true accuracy. Hand the
            matplotlib figure to a tracker, such as ``lambda figure, step:
            mlflow.log_figure(figure, "accuracy.png")``. The extra ``plot`` draws it.

        Raises
        ------
        InvalidArgumentError
            When an argument cannot be used.
        UnreadableFileError
            When `predictor` is the path of a file that is no predictor.
        MissingDependencyError
            When `chart_to` is given and matplotlib is not installed.
        """
        super().__init__()
        # Under their own names, as scikit-learn's rules (and skorch) want it; all else has a
        # leading underscore.
        self.predictor = predictor
        self.every_n_epochs = every_n_epochs
        self.name = name
        self.stopping = stopping
        self.verbose = verbose
        self.features = features
        self.task = task
        self.part = part
        self.input_shape = input_shape
        self.sample = sample
        self.log_keys = log_keys
        self.anchor_every = anchor_every
        self.anchor_on = anchor_on
        self.validate = validate
        self.forecast = forecast
        self.planned_epochs = planned_epochs
        self.chart_to = chart_to
        self._set_up()

    def _set_up(self) -> None:
        """Take the parameters up; done again where they change."""
        self.check_parameters()

    def check_parameters(self) -> None:
        """Raise `InvalidArgumentError` where a parameter, or a pair of them, cannot be used."""
        if self.every_n_epochs is not None:
            positive_int("every_n_epochs", self.every_n_epochs)
        if not isinstance(self.name, str) or not self.name or self.name.startswith("val_"):
            wanted = "a text not starting with 'val_', which names metrics on validation data"
            raise invalid_argument("name", self.name, wanted)
        rule, forecast = self.stopping, flag("forecast", self.forecast)
        if rule is not None and not isinstance(rule, StoppingRule):
            wanted = "a rule from accuracy_from_weights.stopping, such as Patience(5)"
            raise invalid_argument("stopping", rule, wanted)
        if rule is not None and rule.reads_forecast and not forecast:
            raise InvalidArgumentError(
                "`stopping` judges the forecast; pass forecast=True as well."
            )
        flag("verbose", self.verbose)
        check_task(self.task)
        if self.part is not None and not (isinstance(self.part, str) and self.part):
            raise invalid_argument("part", self.part, "the name of a network inside the model")
        pair = isinstance(self.sample, tuple) and len(self.sample) == 2
        if self.sample is not None and not pair:
            raise InvalidArgumentError(
                "`sample` is no pair; pass training inputs and their classes, sample=(x, y)."
            )
        if self.planned_epochs is not None:
            positive_int("planned_epochs", self.planned_epochs)
        if self.validate is not None and self.anchor_every is None:
            raise InvalidArgumentError(
                "`validate` is not used without `anchor_every`; pass anchor_every=n to validate "
                "every n epochs."
            )
