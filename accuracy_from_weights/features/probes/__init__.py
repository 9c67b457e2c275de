"""A model's answers to fixed synthetic inputs, as numbers of fixed length.

No framework is imported here: PyTorch and Keras are looked up among the modules that the user's
own code has already imported.
"""

from __future__ import annotations

from accuracy_from_weights.features.probes.answers import PROBE_NAMES
from accuracy_from_weights.features.probes.models import answers_of, input_spec, probe, runnable

__all__ = ["PROBE_NAMES", "answers_of", "input_spec", "probe", "runnable"]
