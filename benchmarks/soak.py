"""Ten thousand epochs with the predictor that ships: what an estimate costs, and what is held.

    python benchmarks/soak.py [--epochs 10000]

First a loop of one's own with a `Monitor`, then a real ``fit`` of Keras with the callback. Memory
is the process' resident set, read after a tenth of the epochs and at their end; Keras' History
keeps four numbers of ours an epoch, which is counted with it.
"""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import click
import keras
import numpy as np
import torch

from accuracy_from_weights.callbacks.keras import AccuracyFromWeights
from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.errors import AccuracyFromWeightsWarning

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> float:
    """Return the memory of this process in MB; of Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6


class Meter:
    """Notes memory and time after a tenth of the epochs and at the end."""

    def __init__(self, epochs: int) -> None:
        self.epochs, self.warm = epochs, max(epochs // 10, 1)

    def after(self, epoch: int) -> None:
        """Take note of an epoch, counted from 0, that has ended."""
        if epoch + 1 == self.warm:
            self.memory, self.began = resident(), time.perf_counter()
        if epoch + 1 == self.epochs:
            n = self.epochs - self.warm
            each = (time.perf_counter() - self.began) / n * 1e3
            grown = resident() - self.memory
            click.echo(f"{n} epochs: {each:.2f} ms each, {grown:+.2f} MB")


@click.command()
@click.option("--epochs", default=10_000, show_default=True)
def main(epochs: int) -> None:
    warnings.simplefilter("ignore", AccuracyFromWeightsWarning)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(9)
    )
    model(torch.zeros(1, 1, 8, 8))
    monitor, meter = Monitor(), Meter(epochs)
    click.echo("Monitor: ", nl=False)
    for epoch in range(epochs):
        with torch.no_grad():
            model[0].weight += 0.001 * torch.randn_like(model[0].weight)
        monitor.update(model, epoch)
        meter.after(epoch)

    x, y = np.ones((1, 8), np.float32), np.zeros(1)
    network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(9), keras.layers.Dense(4)])
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for title, ours in (("fit alone", []), ("fit with the callback", [AccuracyFromWeights()])):
        click.echo(f"Keras, {title}: ", nl=False)
        meter = Meter(epochs)
        tell = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, meter=meter: meter.after(epoch)
        )
        network.fit(x, y, epochs=epochs, verbose=0, callbacks=[*ours, tell])


if __name__ == "__main__":
    main()
