"""A real, tiny training loop of one's own, with PyTorch."""

from __future__ import annotations

import torch

from tests.callbacks.scripted import digits, seed_all

KEY = "accuracy_from_weights"
KEYS = [KEY, f"{KEY}_low", f"{KEY}_high", f"{KEY}_in_family"]


def network(seed: int = 0) -> torch.nn.Module:
    seed_all(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, stride=2),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Flatten(),
        torch.nn.Linear(36, 10),
    )


def train(model: torch.nn.Module, epochs: int, after_epoch) -> list[float]:
    """Train for real and call ``after_epoch(epoch)``; stop when it gives True."""
    x, y = (torch.from_numpy(array) for array in digits(128))
    x = x.permute(0, 3, 1, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for epoch in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
        if after_epoch(epoch):
            break
    return losses
