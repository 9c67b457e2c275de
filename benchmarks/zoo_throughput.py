"""How fast a zoo is trained: Keras' fit, a plain PyTorch loop and this package's builder.

All train the same recipes of the paper's network, with the same checkpoints and evaluations, one
after another in processes of their own, each on one core:

    python benchmarks/zoo_throughput.py
    python benchmarks/zoo_throughput.py --networks 8 --epochs 4 --rounds 3

Rates are training images a second, evaluations included in the time. Beside the time on the clock
stands the processor time, which other programs on the machine disturb less; the ratios are of
processor time. The best of several rounds counts, and rounds go through all competitors in turn.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from networks import random_images

from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo_training.training import ImageData, train_networks

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "KERAS_BACKEND": "torch"}
GIB = 2**30


def draw_recipes(options: argparse.Namespace, data: ImageData) -> list[NetworkRecipe]:
    """Draw the paper's recipes, or K networks of one recipe to train at once."""
    epochs = options.epochs
    paper = PaperRecipe(
        epochs=epochs,
        checkpoints=tuple(sorted({0, 1, epochs})),
        n_train=options.n_train,
        n_test=options.n_test,
    )
    paper = dataclasses.replace(paper, batch_size=128)
    if options.at_once:
        first = paper.draw(0, 0, data.facts)
        task = dataclasses.replace(first.task, n_train=options.n_train // 2)
        return [
            dataclasses.replace(first, seed=seed, order_seed=seed, dropout=0.35, task=task)
            for seed in range(options.at_once)
        ]
    return [paper.draw(index, 0, data.facts) for index in range(options.networks)]


def train_plainly(recipes: Sequence[NetworkRecipe], data: ImageData) -> None:
    """Train as a PyTorch tutorial would: modules, autograd, ``nn.Dropout``, ``torch.optim``."""
    import torch
    from torch import nn

    from accuracy_from_weights.zoo_training.tasks import prepare_data, training_examples

    def evaluate(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
        with torch.no_grad():
            logits = torch.cat([network(part) for part in x.split(500)])
        loss = nn.functional.cross_entropy(logits, y).item()
        return (logits.argmax(1) == y).double().mean().item(), loss

    for recipe in recipes:
        images = prepare_data(recipe.task, data)
        indices, labels = training_examples(recipe.task, images)
        x, y = torch.from_numpy(images.pool[indices]), torch.from_numpy(labels)
        test_x, test_y = torch.from_numpy(images.test), torch.from_numpy(images.test_labels)
        activation = nn.ReLU if recipe.architecture.activation == "relu" else nn.Tanh
        blocks: list[nn.Module] = []
        for depth in (1, 16, 16):
            blocks += [nn.Conv2d(depth, 16, 3, 2), activation(), nn.Dropout(recipe.dropout)]
        network = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
        kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}
        optimiser = kinds[recipe.optimizer](network.parameters(), lr=recipe.learning_rate)
        kernels = [p for p in network.parameters() if p.ndim > 1]
        batch, steps = recipe.batch_of(len(x)), recipe.steps_of(len(x))
        for epoch in range(int(recipe.epochs) + 1):
            if epoch in recipe.checkpoints:
                network.eval()
                evaluate(network, x, y)
                evaluate(network, test_x, test_y)
                network.train()
            if epoch == recipe.epochs:
                break
            order = torch.randperm(len(x))
            for step in range(steps):
                chosen = order[step * batch : (step + 1) * batch]
                loss = nn.functional.cross_entropy(network(x[chosen]), y[chosen])
                loss = loss + recipe.l2 * sum((kernel**2).sum() for kernel in kernels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()


def train_with(backend: str) -> Callable[[Sequence[NetworkRecipe], ImageData], None]:
    def train(recipes: Sequence[NetworkRecipe], data: ImageData) -> None:
        for _ in train_networks(recipes, data, backend=backend):
            pass

    return train


COMPETITORS = {
    "Keras fit": train_with("keras"),
    "plain PyTorch loop": train_plainly,
    "this builder": train_with("torch"),
}


def work(options: argparse.Namespace) -> None:
    """Train in this process and print what it took, as JSON."""
    train = COMPETITORS[options.work]
    data = random_images(options.n_train, options.n_test)
    recipes = draw_recipes(options, data)
    short = dataclasses.replace(recipes[0], epochs=1, checkpoints=(0, 1))
    train([dataclasses.replace(short, task=dataclasses.replace(short.task, n_train=256))], data)
    wall, processor = time.perf_counter(), time.process_time()
    train(recipes, data)
    images = sum(r.epochs * r.steps_of(r.task.n_train) * r.batch_size for r in recipes)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        json.dumps(
            {
                "images": images,
                "wall": time.perf_counter() - wall,
                "processor": time.process_time() - processor,
                "memory": used,
            }
        )
    )


def start(name: str, options: argparse.Namespace, at_once: int = 0) -> subprocess.Popen[str]:
    """Start a competitor in a process of its own."""
    numbers = ("networks", "epochs", "n_train", "n_test")
    command = [sys.executable, __file__, "--work", name, "--at-once", str(at_once)]
    for number in numbers:
        command += [f"--{number.replace('_', '-')}", str(getattr(options, number))]
    environment = {**os.environ, **ONE_THREAD}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a competitor failed with exit code {process.returncode}")
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def best(results: Sequence[dict[str, Any]], clock: str) -> float:
    return max(result["images"] / result[clock] for result in results)


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=4, help="recipes for each competitor")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--n-train", type=int, default=5_000)
    parser.add_argument("--n-test", type=int, default=2_500)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--work", choices=tuple(COMPETITORS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options)
        return
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in COMPETITORS}
    pairs: list[float] = []
    sizes = (1, 2, 4, 8)
    grown: dict[int, list[dict[str, Any]]] = {k: [] for k in sizes}
    for _ in range(options.rounds):
        for name, found in results.items():
            found.append(finish(start(name, options)))
        both = [start("this builder", options) for _ in range(2)]
        pairs.append(sum(r["images"] / r["wall"] for r in map(finish, both)))
        for k in sizes:
            grown[k].append(finish(start("this builder", options, at_once=k)))
    keras, plain = (best(results[n], "processor") for n in ("Keras fit", "plain PyTorch loop"))
    row(
        "one core", "images/s", "images/s of processor time", "times Keras", "times plain", "memory"
    )
    row(*["---"] * 6)
    for name, found in results.items():
        rate = best(found, "processor")
        memory = f"{max(r['memory'] for r in found) / GIB:.2f} GiB"
        speeds = (f"{rate:,.0f}", f"{rate / keras:.1f}", f"{rate / plain:.1f}")
        row(name, f"{best(found, 'wall'):,.0f}", *speeds, memory)
    one = best(results["this builder"], "wall")
    print()
    row("processes of this builder", "images/s", "times one process")
    row(*["---"] * 3)
    row(1, f"{one:,.0f}", "1.0")
    row(2, f"{max(pairs):,.0f}", f"{max(pairs) / one:.2f}")
    print()
    row("networks at once", "images/s of processor time", "memory")
    row(*["---"] * 3)
    for k, found in grown.items():
        memory = f"{max(r['memory'] for r in found) / GIB:.2f} GiB"
        row(k, f"{best(found, 'processor'):,.0f}", memory)


if __name__ == "__main__":
    main()
