"""Early-stopping rules on estimates; every decision carries its reason."""

from accuracy_from_weights.stopping.protocol import Decision, StoppingRule, StopReason
from accuracy_from_weights.stopping.rules import (
    Diverged,
    FirstOf,
    Hopeless,
    Patience,
    Plateau,
    best_so_far,
)

__all__ = [
    "Decision",
    "Diverged",
    "FirstOf",
    "Hopeless",
    "Patience",
    "Plateau",
    "StopReason",
    "StoppingRule",
    "best_so_far",
]
