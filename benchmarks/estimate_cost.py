"""What an estimate costs, beside one pass over the weights and a validation pass: ratios.

``python benchmarks/estimate_cost.py`` uses one core and takes some minutes, most of them the
validation passes. WeightWatcher is timed where it is installed (``pip install weightwatcher``).
Each time is the shortest of several, taken in turn, in seconds of the processor, which other
programs lengthen less than those of the clock; the ratio's spread is that over the rounds.

``--json FILE`` writes everything to a file; ``python docs/make_numbers.py`` makes the table of the
documentation from ``benchmarks/results/estimate_cost.json``.

``--before FOLDER`` measures what describing costs with the package in another folder (``git
worktree add FOLDER COMMIT``) right before, in a process of its own. ``--quick`` leaves out the
validation passes, the callback and WeightWatcher. ``--probes`` measures only what probes cost
beside a validation pass over images of the same size.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import networks
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from accuracy_from_weights.features.description import describe
from accuracy_from_weights.weights import read_weights

IMAGES = 10_000


def images(size: int, channels: int) -> Callable[[int], torch.Tensor]:
    return lambda n: torch.rand(n, channels, size, size)


NETWORKS: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[int], torch.Tensor], int]] = {
    # How to build it, how to make n inputs, and how many of them at a time.
    "paper's": (networks.paper_network, images(28, 1), 500),
    "ResNet-18": (networks.resnet18, images(224, 3), 8),
    "ResNet-50": (networks.resnet50, images(224, 3), 8),
    "transformer": (
        networks.Transformer,
        lambda n: torch.randint(0, 30_522, (n, 128)),
        8,
    ),
}

PROBED = {"paper's": (28, 1), "ResNet-18": (64, 3), "ResNet-50": (64, 3)}
"""Pixels of a side, and channels."""


def seconds(work: Callable[[], object]) -> float:
    """Time one call, which uses one thread."""
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.no_grad()
def validation_pass(model: torch.nn.Module, batch: torch.Tensor, at_most: float) -> float:
    """Seconds for `IMAGES` inputs; from fewer where they would take longer than `at_most`."""
    model.eval()
    model(batch)
    times: list[float] = []
    n_batches = IMAGES // len(batch)
    while len(times) < n_batches and sum(times) < at_most:
        times.append(seconds(lambda: model(batch)))
    return median(times) * n_batches


def weightwatcher_seconds(model: torch.nn.Module) -> float | None:
    """Seconds of WeightWatcher's default analysis; None where it is not installed."""
    try:
        import weightwatcher
    except ImportError:
        return None
    logging.disable(logging.CRITICAL)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        watcher = weightwatcher.WeightWatcher(model=model)
        return seconds(watcher.analyze)


def extra_memory(work: Callable[[], object]) -> int:
    """Most bytes that Python and numpy hold at once beyond what they held before."""
    work()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def measured(name: str, rounds: int) -> dict[str, Any]:
    """Measure what reading and describing cost, and one pass."""
    torch.manual_seed(0)
    model = NETWORKS[name][0]()
    arrays = [p.detach().numpy() for p in model.parameters()]
    weights = read_weights(model)
    works: dict[str, Callable[[], object]] = {
        "sum": lambda: [array.sum() for array in arrays],
        "read": lambda: read_weights(model),
        "describe": lambda: describe(read_weights(model)),
        "describe_alone": lambda: describe(weights),
    }
    times = in_turn(works, rounds, sum(array.size for array in arrays))
    best = {what: min(values) for what, values in times.items()}
    ratios = [d / s for d, s in zip(times["describe"], times["sum"], strict=True)]
    return {
        "network": name,
        "parameters": sum(array.size for array in arrays),
        **{f"{what}_ms": 1000 * seconds for what, seconds in best.items()},
        "describe_over_sum": best["describe"] / best["sum"],
        "describe_over_sum_range": [min(ratios), max(ratios)],
        "extra_memory_mb": extra_memory(works["describe"]) / 1e6,
        "largest_layer_mb": max(array.nbytes for array in arrays) / 1e6,
    }


def in_turn(
    works: dict[str, Callable[[], object]], rounds: int, n_parameters: int
) -> dict[str, list[float]]:
    """Return each work's shortest time of each round."""
    for work in works.values():
        work()
    repeats = max(1, 2_000_000 // n_parameters)
    times: dict[str, list[float]] = {what: [] for what in works}
    for _ in range(rounds):
        for what, work in works.items():
            n = 20 * repeats if what == "sum" else repeats
            times[what].append(min(seconds(work) for _ in range(max(3, min(n, 50)))))
    return times


def beside_others(name: str, rounds: int, at_most: float, describe_s: float) -> dict[str, Any]:
    """Measure the callback, a validation pass and WeightWatcher."""
    from accuracy_from_weights.callbacks.torch import Monitor

    build, inputs, batch = NETWORKS[name]
    torch.manual_seed(0)
    model = build()
    monitor = Monitor(every_n_epochs=1)
    epochs = iter(range(10**6))

    def estimate() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a network of another family than the zoo's
            monitor.update(model, next(epochs))

    n_parameters = sum(p.numel() for p in model.parameters())
    callback = min(in_turn({"callback": estimate}, rounds, n_parameters)["callback"])
    validation = validation_pass(model, inputs(batch), at_most)
    watcher = weightwatcher_seconds(model)
    return {
        "callback_ms": 1000 * callback,
        "validation_s": validation,
        "callback_over_validation": callback / validation,
        "weightwatcher_s": watcher,
        "weightwatcher_over_describe": None if watcher is None else watcher / describe_s,
    }


def probes(name: str, at_most: float) -> dict[str, Any]:
    """Measure what asking a network of images costs beside a validation pass over as large ones."""
    from accuracy_from_weights.features.probes import probe

    size, channels = PROBED[name]
    torch.manual_seed(0)
    model = NETWORKS[name][0]().eval()
    probe(model, (channels, size, size))  # the inputs are made, and kept
    asked = seconds(lambda: probe(model, (channels, size, size)))
    validation = validation_pass(model, images(size, channels)(50), at_most)
    return {
        "network": name,
        "pixels": size,
        "probes_s": asked,
        "validation_s": validation,
        "probes_over_validation": asked / validation,
    }


def measured_before(folder: str, name: str, rounds: int) -> dict[str, Any]:
    """Measure the package in another folder."""
    command = [sys.executable, __file__, name, "--quick", "--rounds", str(rounds)]
    environment = os.environ | {"PYTHONPATH": folder}
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    row: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--validation-seconds", type=float, default=20, help="at most, a network")
    parser.add_argument("--quick", action="store_true", help="reading and describing only")
    parser.add_argument("--probes", action="store_true", help="probes only, of networks of images")
    parser.add_argument("--json", type=Path, help="write all rows to this file")
    parser.add_argument("--before", metavar="FOLDER", help="of another checkout")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"numpy {np.__version__}, torch {torch.__version__}")
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)

    for name in options.names:
        if options.probes:
            if name in PROBED:
                with threadpool_limits(1):
                    keep(probes(name, options.validation_seconds))
            continue
        if options.before is not None:
            before = measured_before(options.before, name, options.rounds)
            keep({"before": options.before} | before)
        with threadpool_limits(1):
            row = measured(name, options.rounds)
            if not options.quick:
                describe_s = row["describe_ms"] / 1000
                row |= beside_others(name, options.rounds, options.validation_seconds, describe_s)
        keep(row)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
