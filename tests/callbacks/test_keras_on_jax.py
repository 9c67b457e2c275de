"""The Keras callback on the JAX backend, which a process has to choose before it imports Keras.

These tests of `test_keras_callback.py` depend on how a backend holds its weights; a tox
environment of its own runs all of them on JAX.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ON_JAX = [
    "test_these_tests_run_on_the_backend_that_was_asked_for",
    "test_the_weights_seen_are_those_of_the_epoch_that_just_ended",
    "test_early_stopping_stops_on_the_estimate_and_restores_its_best_weights",
    "test_training_is_bit_for_bit_the_same_with_and_without_the_callback",
]


def test_the_callback_works_on_jax():
    file = Path(__file__).with_name("test_keras_callback.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *[f"{file}::{name}" for name in ON_JAX]],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{len(ON_JAX)} passed" in run.stdout


def test_weights_that_are_sharded_over_devices_are_read_whole():
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, str(here / "keras_two_devices.py")],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        },
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith("read whole\n")
