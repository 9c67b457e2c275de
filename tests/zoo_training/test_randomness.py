from __future__ import annotations

import numpy as np
import pytest
import torch

from accuracy_from_weights.zoo_training import randomness, torch_philox


def signed(words: np.ndarray) -> np.ndarray:
    return words.view(np.int64)


@pytest.mark.parametrize(("first_block", "n_words"), [(0, 8), (3, 41), (2**40, 5)])
def test_a_device_draws_the_words_that_numpy_draws(first_block: int, n_words: int) -> None:
    keys = np.stack([randomness.dropout_key(seed) for seed in (0, 1, 2**31)])
    drawn = torch_philox.random_words(torch.from_numpy(signed(keys)), first_block, n_words)
    expected = [randomness.random_words(key, first_block, n_words) for key in keys]
    np.testing.assert_array_equal(drawn.numpy(), signed(np.stack(expected)))


def test_the_words_are_those_of_the_published_generator() -> None:
    # Known answer of Philox 4x64-10 for a counter and a key of zeros, from the Random123 library;
    # NumPy adds 1 to the counter before it draws.
    words = np.random.Philox(key=0, counter=2**256 - 1).random_raw(4)
    known = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert [int(word) for word in words] == known
    device = torch_philox.random_words(torch.zeros((1, 2), dtype=torch.int64), -1, 4)
    np.testing.assert_array_equal(device.numpy()[0], signed(np.array(known, np.uint64)))


def test_dropout_of_a_step_does_not_depend_on_the_steps_before() -> None:
    key = randomness.dropout_key(7)
    drawn = [randomness.dropout_bytes(key, step, 101) for step in range(3)]
    assert drawn[0].tobytes() != drawn[1].tobytes()
    many = randomness.dropout_bytes(key, 0, 100_000)
    assert np.bincount(many, minlength=256).std() < 1.2 * np.sqrt(100_000 / 256)


@pytest.mark.parametrize("step", [0, 2, 10**6])
def test_a_device_keeps_what_numpy_keeps(step: int) -> None:
    keys = np.stack([randomness.dropout_key(seed) for seed in (7, 8)])
    thresholds = np.array([[0], [90]], np.uint8)
    kept = torch.full((2, torch_philox.padded_bytes(101)), 7, dtype=torch.uint8)
    torch_philox.draw_kept(
        torch.from_numpy(signed(keys)), torch.from_numpy(thresholds), torch.tensor(step), kept
    )
    drawn = np.stack([randomness.dropout_bytes(key, step, 101) for key in keys])
    np.testing.assert_array_equal(kept.numpy()[:, :101], drawn >= thresholds)


def test_a_device_orders_examples_as_numpy_does() -> None:
    keys = np.stack([randomness.order_key(seed) for seed in (0, 5)])
    for epoch in (0, 3):
        orders = torch_philox.epoch_orders(torch.from_numpy(signed(keys)), epoch, 50)
        expected = [randomness.epoch_order(key, epoch, 50) for key in keys]
        np.testing.assert_array_equal(orders.numpy(), np.stack(expected))


def test_each_epoch_has_an_order_of_its_own() -> None:
    key = randomness.order_key(3)
    orders = [randomness.epoch_order(key, epoch, 50) for epoch in range(4)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(50))
    assert len({order.tobytes() for order in orders}) == 4
