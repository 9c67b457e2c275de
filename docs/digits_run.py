"""A small network that learns scikit-learn's digits, for pictures of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from sklearn.datasets import load_digits
from torch import nn

from accuracy_from_weights.callbacks.torch import Monitor

_HELD_OUT = 300


def epochs(
    rate: float, seed: int, n_epochs: int, monitor: Callable[..., Monitor] = Monitor
) -> Iterator[tuple[int, nn.Module, Monitor, dict[str, float], float]]:
    """Train the paper's network on digits.

    Parameters
    ----------
    rate : float
        Learning rate of Adam.
    seed : int
    n_epochs : int
    monitor : callable
        Makes the monitor, given what it is to read.

    Yields
    ------
    tuple
        After each epoch its number, the network, the monitor, the log of the epoch, and the true
        accuracy on held-out digits.
    """
    torch.manual_seed(seed)
    pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    images = (pixels.float() / 8 - 1).reshape(-1, 1, 8, 8)
    mixed = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images, labels = images.repeat_interleave(3, 2).repeat_interleave(3, 3)[mixed], labels[mixed]
    layers: list[nn.Module] = []
    for inputs in (1, 16, 16):
        layers += [nn.Conv2d(inputs, 16, 3, stride=2), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    optimiser = torch.optim.Adam(model.parameters(), rate)
    n = len(images) - _HELD_OUT
    sample = images[:n], labels[:n]
    watching = monitor(features="weights+probes+log+sample", sample=sample, input_shape=(1, 24, 24))
    for epoch in range(n_epochs):
        right, loss = 0, 0.0
        for batch in torch.randperm(n).split(32):
            optimiser.zero_grad()
            answers = model(images[batch])
            error = nn.functional.cross_entropy(answers, labels[batch])
            error.backward()
            optimiser.step()
            right += (answers.argmax(1) == labels[batch]).sum().item()
            loss += error.item() * len(batch)
        with torch.no_grad():
            truth = (model(images[n:]).argmax(1) == labels[n:]).float().mean().item()
        yield epoch, model, watching, {"accuracy": right / n, "loss": loss / n, "samples": n}, truth
