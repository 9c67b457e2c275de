"""What the callbacks find by themselves: accuracies among metrics, and the shape of an input."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from accuracy_from_weights.callbacks.evidence import (
    VALIDATION,
    FirstExamples,
    LogReader,
    input_shape_of,
)
from accuracy_from_weights.errors import AccuracyFromWeightsError

IMAGES = torch.zeros(4, 3, 8, 8)
LABELS = torch.zeros(4, dtype=torch.long)
TOKENS = torch.zeros(4, 16, dtype=torch.long)


def reader(log_keys=None, anchor_on=None) -> tuple[LogReader, dict[str, str]]:
    said: dict[str, str] = {}
    return LogReader(log_keys, anchor_on, "do this", said.setdefault), said


@pytest.mark.parametrize(
    "metrics",
    [
        {"loss": 0.5, "accuracy": 0.9, "val_accuracy": 0.1, "val_loss": 9.0},
        {"train_loss": 0.5, "train_acc": 0.9, "valid_acc": 0.1, "acc": 0.2, "loss": 3.0},
        {"train/loss_epoch": 0.5, "train/Acc_epoch": 0.9, "train/loss_step": 4.0},
        {"loss": np.float32(0.5), "sparse_categorical_accuracy": torch.tensor(0.9), "lr": 0.1},
        {"Train-Loss": 0.5, "training accuracy": 0.9, 3: "no name"},
    ],
)
def test_training_accuracy_and_loss_are_found_under_their_usual_names(metrics):
    read, said = reader()
    assert read.training(metrics) == pytest.approx({"accuracy": 0.9, "loss": 0.5})
    assert not said


def test_names_that_are_given_are_taken_alone():
    read, said = reader(("top1", None), "val_top1")
    metrics = {"top1": 0.7, "accuracy": 0.1, "loss": 2.0, "val_top1": 0.6, "val_acc": 0.2}
    assert read.training(metrics) == {"accuracy": 0.7, "loss": 2.0}
    assert read.validation(metrics) == 0.6
    assert read.validation({"val_acc": 0.2}) is None
    assert not said


@pytest.mark.parametrize(
    ("keys", "metrics", "left", "expected"),
    [
        (None, {"loss": 1.0}, {"loss": 1.0}, "training accuracy, .* is not logged: do this"),
        (None, {"acc": 1.0}, {"accuracy": 1.0}, "training loss, .* is not logged: log it, too"),
        (("acu", "loss"), {"loss": 1.0}, {"loss": 1.0}, "was to be 'acu', .* Logged are: 'loss'"),
        (
            None,
            {"loss": 1.0, "acc": 93.5},
            {"loss": 1.0},
            r"'acc' is 93\.5, .* not a fraction",
        ),
        (
            None,
            {"loss": 1.0, "acc": "high"},
            {"loss": 1.0},
            "'acc' is None, .* not a fraction",
        ),
    ],
)
def test_what_is_missing_or_cannot_be_right_is_said_in_a_sentence(keys, metrics, left, expected):
    read, said = reader(keys)
    assert read.training(metrics) == left
    (text,) = said.values()
    assert re.search(expected, text)


def test_numbers_that_are_not_finite_are_left_aside_in_silence():
    read, said = reader()
    assert read.training({"loss": float("nan"), "acc": float("inf")}) == {}
    assert read.validation({"val_acc": float("nan")}) is None
    assert not said


def test_the_accuracy_of_an_evaluation_may_go_without_prefix():
    read, _ = reader()
    assert read.validation({"accuracy": 0.4}) is None
    assert read.validation({"accuracy": 0.4}, ("", *VALIDATION)) == 0.4


@pytest.mark.parametrize("keys", ["train_acc", ("a",), ("a", 3), 5])
def test_names_that_cannot_be_names_are_told_at_once(keys):
    with pytest.raises(AccuracyFromWeightsError, match=r"`log_keys=.* the names of"):
        reader(keys)
    with pytest.raises(AccuracyFromWeightsError, match=r"`anchor_on=7` .* the name of"):
        reader(anchor_on=7)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (IMAGES, (3, 8, 8)),
        ((IMAGES, LABELS), (3, 8, 8)),
        ([LABELS, (IMAGES.numpy(),)], (3, 8, 8)),
        ({"mask": torch.ones(4, 9), "pixel_values": IMAGES}, (3, 8, 8)),
        ({"labels": LABELS, "features": torch.ones(4, 9)}, (9,)),
        (IMAGES.to(torch.uint8), (3, 8, 8)),
        ({"input_ids": TOKENS, "labels": LABELS}, None),
        ((), None),
        ("text", None),
    ],
)
def test_the_shape_of_an_input_is_that_of_the_first_thing_that_can_be_one(batch, expected):
    assert input_shape_of(batch) == expected


def kept(*batches) -> tuple:
    first = FirstExamples()
    for batch in batches:
        first.add(batch)
    return first.examples()


def test_examples_of_several_batches_are_joined_and_copied():
    images = torch.zeros(4, 3, 8, 8)
    x, y = kept((images, LABELS), [images + 1, LABELS + 1])
    images += 9
    assert x.shape == (8, 3, 8, 8)
    assert (x[:4] == 0).all()
    assert y.tolist() == [0] * 4 + [1] * 4
    x, _ = kept({"image": images, "label": LABELS})
    assert x.shape == (4, 3, 8, 8)
    assert FirstExamples().examples() is None


def test_sequences_of_tokens_get_one_length():
    mask = torch.ones_like(TOKENS)
    long, short = ({"input_ids": TOKENS[:, :n], "attention_mask": mask[:, :n]} for n in (16, 9))
    x, y = kept({**short, "labels": LABELS}, {**long, "labels": LABELS})
    assert x["input_ids"].shape == x["attention_mask"].shape == (8, 9)
    x, _ = kept({**long, "labels": LABELS}, {**short, "labels": LABELS})
    assert x["attention_mask"][-1].tolist() == [1] * 9 + [0] * 7
    assert len(y) == 8


def test_enough_examples_are_enough():
    first = FirstExamples()
    large = torch.zeros(64, 3, 200, 200)
    for _ in range(4):
        assert not first.is_complete
        first.add((large, torch.zeros(64, dtype=torch.long)))
    assert first.is_complete  # 256, which are more than 64 MiB


@pytest.mark.parametrize("batch", [IMAGES, (IMAGES,), {"pixel_values": IMAGES}, (IMAGES, "a")])
def test_a_batch_without_classes_is_refused(batch):
    with pytest.raises(AccuracyFromWeightsError, match=r"pass sample=\(x, y\)"):
        FirstExamples().add(batch)
