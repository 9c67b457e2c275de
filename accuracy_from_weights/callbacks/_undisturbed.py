"""Validation in the middle of training, after which training goes on as if nothing had been."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Put back the generators of random numbers, and the mode of each module of PyTorch's.

    A data loader of PyTorch's draws a seed from the global generator even where it shuffles
    nothing, and on that backend Keras leaves a model that it has evaluated in eval mode.
    """
    modules = list(model.modules()) if callable(getattr(model, "modules", None)) else []
    modes = [module.training for module in modules]
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one
    torch = sys.modules.get("torch")
    cpu = torch.get_rng_state() if torch is not None else None
    has_gpu = torch is not None and torch.cuda.is_initialized()
    gpus = torch.cuda.get_rng_state_all() if torch is not None and has_gpu else []
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 - the global one
        if torch is not None:
            torch.set_rng_state(cpu)
            if has_gpu:
                torch.cuda.set_rng_state_all(gpus)
