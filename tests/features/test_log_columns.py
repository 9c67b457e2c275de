from __future__ import annotations

import numpy as np
import pytest

from accuracy_from_weights.errors import InvalidArgumentError
from accuracy_from_weights.features.feature_sets import feature_names
from accuracy_from_weights.features.log_columns import (
    complete_log,
    first_guess,
    log_columns,
    log_row,
    read_log,
)

NAMES = feature_names("weights+probes+log")
OUTPUTS = NAMES.index("architecture.log_outputs")


def rows(accuracy: float, loss: float, samples: float) -> np.ndarray:
    row = np.zeros((1, len(NAMES)), np.float32)
    row[0, OUTPUTS] = np.log(10)
    row[0, -3:] = accuracy, loss, samples
    return row


def test_a_whole_log_is_kept_on_its_scales():
    found = complete_log(rows(0.8, 0.5, 10_000), NAMES)
    np.testing.assert_allclose(found[0, -3:], (0.8, 0.5, 4), rtol=1e-6)
    np.testing.assert_allclose(first_guess(found, NAMES), 0.8, rtol=1e-6)


def test_what_is_missing_is_what_guessing_gives():
    found = complete_log(rows(np.nan, np.nan, np.nan), NAMES)
    np.testing.assert_allclose(found[0, -3:], (0.1, np.log(10), 3), rtol=1e-6)


@pytest.mark.parametrize("loss", [51.0, 1e22, 3e38])
def test_an_absurd_loss_is_cut(loss):
    assert complete_log(rows(0.1, loss, 10), NAMES)[0, -2] == 50


def test_the_rows_given_are_left_alone():
    given = rows(np.nan, 1e9, np.nan)
    before = given.copy()
    complete_log(given, NAMES)
    np.testing.assert_array_equal(given, before)


def test_rows_without_a_log_stay_as_they_are():
    plain = rows(0.1, 0.2, 3)[:, :-3]
    assert complete_log(plain, NAMES[:-3]) is plain
    np.testing.assert_array_equal(first_guess(plain, NAMES[:-3]), [0])


def test_columns_of_a_zoo_that_does_not_know_its_samples():
    for samples in (None, np.array(["many", "few"])):
        np.testing.assert_array_equal(
            log_columns([0.5, 0.25], [1, 2], samples), [[0.5, 1, np.nan], [0.25, 2, np.nan]]
        )


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (None, "log=None"),
        ({"accuracy": 97.0}, "accuracy, 97, is no fraction"),
        ({"accuracy": 0.9, "samples": 0}, "samples, 0, is below 1"),
    ],
)
def test_a_log_that_cannot_be_is_refused(log, expected):
    with pytest.raises(InvalidArgumentError, match=expected):
        log_row(log)


def test_spellings_of_the_log() -> None:
    log = {"train/Acc": 0.5, "training_loss": 1.0, "num_samples": 80}
    assert read_log(log) == {"accuracy": 0.5, "loss": 1.0, "samples": 80}
    with pytest.raises(InvalidArgumentError, match="did you mean 'accuracy'"):
        read_log({"acuracy": 0.5})
    with pytest.raises(InvalidArgumentError, match="'val_accuracy'"):
        read_log({"val_accuracy": 0.5})
    with pytest.raises(InvalidArgumentError, match="mean the same"):
        read_log({"acc": 0.5, "accuracy": 0.5})
