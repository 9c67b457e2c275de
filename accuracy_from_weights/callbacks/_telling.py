"""What a callback tells the user of an estimate and of a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accuracy_from_weights.callbacks._guarding import Guard
    from accuracy_from_weights.predictor.estimate import Estimate
    from accuracy_from_weights.stopping.rules import Decision


def tell_estimate(guard: Guard, name: str, estimate: Estimate, epoch: int, verbose: bool) -> None:
    """Warn once of a network that cannot be judged well; print the estimate if `verbose`."""
    if getattr(estimate, "condition", "ok") == "diverged":
        guard.warn_once(
            "diverged",
            f"at epoch {epoch} the weights hold NaN or infinity. The estimate from here on is "
            "that of an untrained network.",
        )
    elif not estimate.in_family:
        guard.warn_once(
            "family",
            f"at epoch {epoch} the network lies outside the family that the predictor knows. "
            "Its estimates go on, with less to rely on; a predictor fitted to such networks "
            "(accuracy-from-weights retrain) would know them.",
        )
    if verbose:
        print(
            f"Epoch {epoch}: {name} {estimate.accuracy:.4f} "
            f"[{estimate.low:.4f}, {estimate.high:.4f}]"
            + ("" if estimate.in_family else ", outside the family")
        )


def tell_stop(owner: str, decision: Decision, step: float) -> None:
    """Print why a rule ended the run, if it did."""
    if decision.stop:
        print(f"{owner}: stopped at step {step:g} ({decision.reason}): {decision.text}.")
