"""The Keras callback on the JAX backend, which a process has to choose before it imports Keras.

These tests of `test_keras_callback.py` depend on how a backend holds its weights; a tox
environment of its own runs all of them on JAX.
"""

from __future__ import annotations

from pathlib import Path

from tests.callbacks.processes import run_python

HERE = Path(__file__).parent

ON_JAX = [
    "test_these_tests_run_on_the_backend_that_was_asked_for",
    "test_the_weights_seen_are_those_of_the_epoch_that_just_ended",
    "test_early_stopping_stops_on_the_estimate_and_restores_its_best_weights",
    "test_training_is_bit_for_bit_the_same_with_and_without_the_callback",
]


def test_the_callback_works_on_jax():
    names = [f"{HERE / 'test_keras_callback.py'}::{name}" for name in ON_JAX]
    printed = run_python("-m", "pytest", "-q", *names, KERAS_BACKEND="jax")
    assert f"{len(ON_JAX)} passed" in printed


def test_weights_that_are_sharded_over_devices_are_read_whole():
    environment = {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    assert run_python(HERE / "keras_two_devices.py", **environment).endswith("read whole\n")
