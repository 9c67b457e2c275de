"""What the callback of a framework answers about a run, for it to override."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accuracy_from_weights.callbacks.evidence import VALIDATION
from accuracy_from_weights.callbacks.parameters import CommonParameters
from accuracy_from_weights.callbacks.processes import rank_and_number
from accuracy_from_weights.errors import InvalidArgumentError
from accuracy_from_weights.features.task import declared_task


class Hooks(CommonParameters):
    """Base of `AccuracyCallback` with what a framework knows of its runs.

    Each hook gets `run`, which is whatever was passed to `estimate_epoch`: the trainer, the logs,
    the engine. `network` is required. `training_metrics`, `n_samples`, `validation_metrics` and
    `progress` are for the log, for anchors and for forecasts. `log_advice`, `anchor_advice` and
    `forecast_advice` say what a user of this framework does where a training accuracy, a true
    accuracy or a plan is missing.
    """

    log_advice = "log it, or name it in `log_keys`"
    anchor_advice = "pass `validate`, or name the validation accuracy in `anchor_on`"
    forecast_advice = "pass `planned_epochs`"
    validation_prefixes: Sequence[str] = VALIDATION

    def network(self, run: Any) -> Any:
        """Return the network to estimate: a model, or whatever else `read_weights` takes.

        With probes, it has to be a model that can be called with inputs alone.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no method `network`; write one that returns the network"
        )

    def declared_task(self, run: Any) -> str | None:
        """Return "binary" or "multiclass" where the run tells which; None where it does not.

        Override it where the framework knows more than the network, such as the loss: return what
        `features.task.declared_task` makes of that.

        Raises
        ------
        UnsupportedModelError
            When the network is trained for something else, and so has no accuracy.
        """
        return declared_task(self.network(run), logged=self.training_metrics(run))

    def training_metrics(self, run: Any) -> Mapping[str, Any]:
        """Return what was logged in training, by name; accuracy and loss are searched in it."""
        return {}

    def validation_metrics(self, run: Any) -> Mapping[str, Any]:
        """Return what validation has found for the network as it is now, by name.

        Metrics of an earlier epoch must not be among them.
        """
        return {}

    def measure(self, network: Any) -> float | None:
        """Return the accuracy that `validate` measures, a fraction."""
        accuracy = float(self.validate(network))
        if not 0 <= accuracy <= 1:
            raise InvalidArgumentError(
                f"`validate` returned {accuracy}, which is no fraction in [0, 1]; divide "
                "percentages by 100"
            )
        return accuracy

    def n_samples(self, run: Any) -> int | None:
        """Return how many samples an epoch holds; None where that is not known."""
        return None

    def progress(self, run: Any) -> float | None:
        """Return the share of the planned training that is done; None where no end is planned."""
        return None

    def agree(self, run: Any, is_due: bool) -> bool:
        """Return whether an estimate is due, the same on all processes that train the network.

        Without `every_n_epochs` that depends on the time, and processes that do different things
        wait for each other for ever. Override it where the framework has a way to ask all of them;
        several processes that cannot be asked estimate at each epoch.
        """
        return is_due or rank_and_number()[1] > 1
