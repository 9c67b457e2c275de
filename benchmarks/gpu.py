"""What a GPU gains: training zoos, estimates, callbacks; one command, under three minutes.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --seconds 60 --output gpu.md
    python benchmarks/gpu.py --device cpu --tiny     # the same checks, small, where there is no GPU

The table says whether networks trained on the GPU are those of the processor, how many training
examples a second a zoo gets through by how many networks are trained at once, what an estimate of a
large network that lies on the GPU costs beside one pass over its weights and a validation pass, and
that a callback leaves training there as it was. What fails, or what there is no time for, is said.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import gc
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from accuracy_from_weights import load_predictor
from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.errors import first_line
from accuracy_from_weights.features.describing import describe_network
from accuracy_from_weights.zoo.recipes.architecture import InputForm
from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.recipes.universe_architecture import draw_architecture
from accuracy_from_weights.zoo.trained_network import TrainedNetwork
from accuracy_from_weights.zoo_training.checkpoint_keeper import CheckpointKeeper
from accuracy_from_weights.zoo_training.randomness import dropout_bytes, dropout_key
from accuracy_from_weights.zoo_training.tasks import PreparedData
from accuracy_from_weights.zoo_training.torch_backend import single_thread_without_tf32
from accuracy_from_weights.zoo_training.torch_philox import (
    draw_kept,
    padded_bytes,
    triton_runs,
)
from accuracy_from_weights.zoo_training.torch_vmap_training import VmapTraining
from accuracy_from_weights.zoo_training.training import ImageData, train_networks
from benchmarks import networks
from benchmarks.networks import random_images

SECONDS = 150
IMAGES_OF_VALIDATION = 10_000
ZOO_NETWORKS, ZOO_EPOCHS, ZOO_IMAGES = 120_000, 86, 32_500
"""The Small CNN Zoo: its networks, their epochs, and the training images of an average one."""
Row = tuple[str, str]
Section = Callable[[torch.device, bool], Iterator[Row]]


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 1) -> float:
    """Time the fastest of some calls, with all that the device has to do for it."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    times = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
    return min(times)


def paper_recipes(k: int, data: ImageData, epochs: int) -> list[NetworkRecipe]:
    """Draw ``k`` of the paper's networks that differ in all but activation and sizes."""
    recipe = PaperRecipe(epochs, (0, epochs), n_train=data.facts.n_train, n_test=data.facts.n_test)
    drawn: list[NetworkRecipe] = []
    index = 0
    while len(drawn) < k:
        network = recipe.draw(index, 0, data.facts)
        index += 1
        if network.architecture.activation == "relu":
            task = dataclasses.replace(network.task, n_train=data.facts.n_train)
            drawn.append(dataclasses.replace(network, task=task, batch_size=128))
    return drawn


def universe_stack(kind: str, k: int, steps: int) -> tuple[list[NetworkRecipe], list[PreparedData]]:
    """Draw an architecture for inputs of 16 pixels or tokens, and ``k`` networks of it."""
    rng = np.random.default_rng(3)
    form = InputForm("tokens", (24,), 50) if kind == "lstm" else InputForm("image", (3, 16, 16))
    architecture = draw_architecture(rng, form, "torch", 1e6)
    while architecture.kind != kind or len(architecture.widths) < 2:
        architecture = draw_architecture(rng, form, "torch", 1e6)
    n_train, batch = 960, 32
    x = rng.integers(50, size=(n_train + 200, *form.shape))
    x = x if kind == "lstm" else (x / 25.0 - 1.0).astype(np.float32)
    y = rng.integers(10, size=len(x))
    task = PreparedData(form, x[:n_train], y[:n_train], x[n_train:], y[n_train:], 10)
    data = random_images(n_train, 200)
    recipes = [
        dataclasses.replace(
            recipe,
            architecture=architecture,
            task=dataclasses.replace(recipe.task, form=form, n_train=n_train),
            batch_size=batch,
            epochs=steps * batch / n_train,
            checkpoints=(0.0, steps * batch / n_train),
            learning_rate=1e-3,
        )
        for recipe in paper_recipes(k, data, 1)
    ]
    recipes.sort(key=lambda recipe: recipe.optimizer)
    return recipes, [task] * k


def steps_a_second(train: Callable[[int, int], object], device: torch.device, most: int) -> float:
    """Time training steps, from one to another, for about a second after the first eight."""
    train(0, 8)
    spent = seconds(lambda: train(8, 16), device)
    n = min(most - 16, max(8, int(8 / spent)))
    return n / seconds(lambda: train(16, 16 + n), device)


def random_streams(device: torch.device, tiny: bool) -> Iterator[Row]:
    """Compare dropout's random bytes with those that NumPy draws."""
    keys = np.stack([dropout_key(seed) for seed in range(4)])
    n_bytes = 4133
    kept = torch.zeros((4, padded_bytes(n_bytes)), dtype=torch.uint8, device=device)
    thresholds = torch.tensor([[0], [1], [100], [179]], dtype=torch.uint8, device=device)
    on_device = torch.from_numpy(keys.view(np.int64)).to(device)
    same = True
    for step in (0, 1, 10**6):
        draw_kept(on_device, thresholds, torch.tensor(step, device=device), kept)
        drawn = np.stack([dropout_bytes(key, step, n_bytes) for key in keys])
        expected = torch.from_numpy(drawn) >= thresholds.cpu()
        same &= torch.equal(kept[:, :n_bytes].cpu().bool(), expected)
    by = "fused kernels" if triton_runs(device) else "plain operations"
    yield f"dropout's random bytes, by {by}", "those of NumPy" if same else "WRONG"


def differences(
    ours: Sequence[TrainedNetwork], theirs: Sequence[TrainedNetwork]
) -> Iterator[tuple[str, str]]:
    """Compare the last checkpoints of networks trained twice."""
    gaps, scores = [], []
    for a, b in zip(ours, theirs, strict=True):
        mine, other = a.checkpoints[-1], b.checkpoints[-1]
        gaps += [float(np.abs(v - other.weights[n]).max()) for n, v in mine.weights.items()]
        scores.append(abs(mine.test_accuracy - other.test_accuracy))
    yield "largest difference of a weight", f"{np.nanmax(gaps):.1e}"
    yield "largest difference of an accuracy", f"{np.nanmax(scores):.3f}"


def equality(device: torch.device, tiny: bool) -> Iterator[Row]:
    """Compare networks trained on the device with those of the processor."""
    data = random_images(256 if tiny else 1000, 100)
    recipes = paper_recipes(2 if tiny else 12, data, 1)

    def train(where: torch.device) -> list[TrainedNetwork]:
        trained = train_networks(recipes, data, device=str(where))
        return sorted(trained, key=lambda network: network.recipe.index)

    for what, gap in differences(train(torch.device("cpu")), train(device)):
        yield f"{what}, the paper's", gap


def universe_equality(kind: str) -> Section:
    """Compare networks of one kind."""

    def compare(device: torch.device, tiny: bool) -> Iterator[Row]:
        stack = universe_stack(kind, 2, 4 if tiny else 20)
        with single_thread_without_tf32():
            ours = VmapTraining(*stack, torch.device("cpu")).run()
            theirs = VmapTraining(*stack, device).run()
        for what, gap in differences(ours, theirs):
            yield f"{what}, {kind}", gap

    compare.__doc__ = f"Compare networks of the kind {kind}."
    return compare


def paper_rates(device: torch.device, tiny: bool) -> Iterator[Row]:
    """Train the paper's network, by how many at once."""
    data = random_images(512 if tiny else 8192, 200)
    rate = 0.0
    for k in (1, 2) if tiny else (1, 32, 128, 512):
        epochs = 1 if tiny else {1: 2, 32: 4}.get(k, 8)
        recipes = paper_recipes(k, data, epochs)
        short = [dataclasses.replace(r, epochs=1, checkpoints=(0, 0.1)) for r in recipes]
        list(train_networks(short, data, device=str(device)))
        spent = seconds(lambda r=recipes: list(train_networks(r, data, device=str(device))), device)
        rate = k * epochs * data.facts.n_train / spent
        yield f"the paper's network, {k} at once", f"{rate:,.0f} examples/s"
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device) / 2**30
            yield f"the paper's network, {k} at once, memory", f"{peak:.1f} GiB"
            torch.cuda.reset_peak_memory_stats(device)
    days = ZOO_NETWORKS * ZOO_EPOCHS * ZOO_IMAGES / rate / 86_400
    yield f"the Small CNN Zoo, {ZOO_NETWORKS:,} networks, at this rate", f"{days:,.1f} days"


def universe_rates(kind: str) -> Section:
    """Train stacks of one kind of architecture, and one network on one core of the processor."""

    def measure(device: torch.device, tiny: bool) -> Iterator[Row]:
        most = 24 if tiny else 400
        one_core = 0.0
        for k, where in (
            (1, torch.device("cpu")),
            *((k, device) for k in ((2,) if tiny else (64, 256))),
        ):
            recipes, tasks = universe_stack(kind, k, most)
            start = time.perf_counter()
            training = VmapTraining(recipes, tasks, where)
            made = time.perf_counter() - start
            keepers = [CheckpointKeeper(recipe) for recipe in recipes]

            def train(
                first: int, last: int, t: VmapTraining = training, n: object = keepers
            ) -> None:
                t._train_steps(n, first, last)

            with single_thread_without_tf32():
                rate = k * recipes[0].batch_size * steps_a_second(train, where, most)
            one_core = one_core or rate
            where_ = ", one core" if k == 1 else ""
            n_weights = training._networks.weights.shape[1]
            yield (
                f"{kind} of {n_weights:,} weights, {k} at once{where_}",
                f"{rate:,.0f} examples/s, {rate / one_core:.0f} times one core; "
                f"{made:.1f} s to set up",
            )
            del training, train
            gc.collect()

    measure.__doc__ = f"Train networks of the kind {kind}."
    return measure


def estimates(device: torch.device, tiny: bool) -> Iterator[Row]:
    """Describe and estimate a network that lies on the device, beside other passes over it."""
    model = (networks.resnet18 if tiny else networks.resnet50)().eval().to(device)
    name = "ResNet-18" if tiny else "ResNet-50"
    images = (3, 64, 64)

    def milliseconds(work: Callable[[], object], repeats: int) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a network of another family than the zoo's
            work()
            return f"{1e3 * seconds(work, device, 1 if tiny else repeats):,.1f} ms"

    sums = milliseconds(lambda: [p.sum() for p in model.parameters()], 5)
    yield "one pass over its weights", sums
    x = torch.randn(2 if tiny else 250, *images, device=device)
    with torch.inference_mode():
        model(x)
        one = seconds(lambda: model(x), device, 1 if tiny else 3)
    whole = 1e3 * one * IMAGES_OF_VALIDATION / len(x)
    yield f"validation pass, {IMAGES_OF_VALIDATION:,} images of 64 pixels", f"{whole:,.0f} ms"
    for features in ("weights",) if tiny else ("weights", "weights+probes"):
        describe = functools.partial(describe_network, model, features, input_shape=images)
        yield f"description of a {name}, {features}", milliseconds(describe, 5)
    for features in ("weights",) if tiny else ("weights", "weights+probes"):
        predictor = load_predictor(features=features)
        estimate = functools.partial(predictor.estimate, model, input_shape=images)
        yield f"estimate of a {name}, {features}", milliseconds(estimate, 5)


def callbacks(device: torch.device, tiny: bool) -> Iterator[Row]:
    """Train with and without a monitor; weights have to agree bit for bit."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield from _callbacks(device, tiny)
    finally:
        torch.use_deterministic_algorithms(False)


def _callbacks(device: torch.device, tiny: bool) -> Iterator[Row]:
    x = torch.randn(200 if tiny else 2000, 1, 28, 28, device=device)
    y = torch.randint(0, 10, (len(x),), device=device)
    plain: list[torch.Tensor] = []
    for features in (None, None, "weights", "weights+probes"):
        torch.manual_seed(0)
        model = networks.paper_network().to(device)
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        monitor = Monitor(features=features, input_shape=(1, 28, 28)) if features else None
        spent = []
        for epoch in range(3):
            for part in torch.arange(len(x), device=device).split(100):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(x[part]), y[part]).backward()
                optimiser.step()
            if monitor is not None:
                spent.append(seconds(lambda m=monitor, n=model, e=epoch: m.update(n, e), device))
        state = [p.detach().clone() for p in model.parameters()]
        same = all(map(torch.equal, plain or state, state))
        if features:
            said = "training unchanged" if same else "TRAINING CHANGED"
            yield f"Monitor, {features}", f"{1e3 * min(spent):.1f} ms an epoch, {said}"
        elif plain:
            yield "training twice without a callback", "the same bits" if same else "DIFFERS"
        plain = plain or state


KINDS = ("cnn", "resnet", "separable", "vit", "mlp", "lstm")


def sections(tiny: bool) -> list[Section]:
    """Return the parts of the table in the order of their weight."""
    kinds = ("resnet", "lstm") if tiny else KINDS
    return [
        random_streams,
        equality,
        paper_rates,
        callbacks,
        estimates,
        *map(universe_rates, kinds),
        *map(universe_equality, kinds),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes: whether it works at all")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="begin nothing after these")
    parser.add_argument("--output", type=Path, help="file for the table: .md, or .json")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit(
            "There is no GPU here that PyTorch can use. The same checks run small on the processor "
            "with: python benchmarks/gpu.py --device cpu --tiny"
        )
    # What PyTorch's deterministic algorithms ask for, before the first product of matrices.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = torch.device(options.device)
    torch.use_deterministic_algorithms(False)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    table: list[Row] = [(f"PyTorch {torch.__version__}, {name}", "")]

    def add(row: Row) -> None:
        if row is not table[0]:
            table.append(row)
        print(f"| {row[0]} | {row[1]} |", flush=True)
        if options.output is not None:
            options.output.write_text(written(table, options.output.suffix), encoding="utf-8")

    start = time.monotonic()
    add(table[0])
    print("|---|---|", flush=True)
    for section in sections(options.tiny):
        title = str(section.__doc__).splitlines()[0]
        rows = section(device, options.tiny)
        begun = time.monotonic()
        while time.monotonic() - start < options.seconds:
            try:
                row = next(rows, None)
            except Exception as error:  # noqa: BLE001 - the other sections may work
                traceback.print_exc()
                row = (title, f"FAILED: {type(error).__name__}: {first_line(error)}")
            if row is None:
                break
            add(row)
        else:
            add((title, "no time left"))
        print(f"({title} {time.monotonic() - begun:.1f} s)", file=sys.stderr, flush=True)


def written(table: Sequence[Row], suffix: str) -> str:
    """Return the table as JSON or as Markdown."""
    if suffix == ".json":
        return json.dumps(dict(table), indent=1)
    (title, _), *rows = table
    lines = [f"| {title} | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
