"""The numbers that a callback logs for one epoch, and what it prints and warns about them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accuracy_from_weights.callbacks.parameters import CommonParameters
    from accuracy_from_weights.predictor.estimate import Estimate


@dataclass(frozen=True)
class Observation:
    """The numbers to log for one epoch.

    Attributes
    ----------
    values
        Finite floats by name: accuracy, low, high (fractions in [0, 1]), in_family (0 or 1); the
        forecast and its interval, where there is one; and the last true accuracy, where estimates
        are anchored to one.
    known
        Whether the accuracy among them was ever estimated in this run. Where it was not, it is 0
        and stands for nothing: log it only where a missing key would end the run.
    failed
        Whether an estimate was due and could not be made: the accuracy is the last known one, the
        interval is [0, 1] and in_family is 0, which says that nothing is known of this network.
    stand_ins
        The names under which values of an earlier epoch stand in for what could not be made, or
        would have taken too long.
    """

    values: dict[str, float]
    known: bool
    failed: bool
    stand_ins: tuple[str, ...] = ()


def share_done(done: float, planned: float | None) -> float | None:
    """Return the share of the planned training that is done; None where no end is planned.

    Parameters
    ----------
    done, planned
        Epochs, or steps.
    """
    if planned is None or not 0 < planned < math.inf:
        return None
    return min(max(done / planned, 0.0), 1.0)


def report(callback: CommonParameters, estimate: Estimate, epoch: int) -> None:
    """Warn once about a network that cannot be judged well; print the estimate if ``verbose``."""
    if estimate.condition == "diverged":
        callback.warn_once(
            "diverged",
            f"at epoch {epoch} the weights hold NaN or infinity. The estimate from here on is "
            "that of an untrained network.",
        )
    elif not estimate.in_family:
        callback.warn_once(
            "family",
            f"at epoch {epoch} the network lies outside the family that the predictor knows. "
            "Estimates go on, but are less reliable; a predictor fitted to such networks "
            "(accuracy-from-weights retrain) would know them.",
        )
    if callback.verbose:
        print(
            f"Epoch {epoch}: {callback.name} {estimate.accuracy:.4f} "
            f"[{estimate.low:.4f}, {estimate.high:.4f}]"
            + ("" if estimate.in_family else ", outside the family")
        )
