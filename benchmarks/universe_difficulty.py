"""How hard the tasks of the universe are: networks are trained on them, one a task.

    python benchmarks/universe_difficulty.py measure FILE [--kind image] [--tasks 200] [--first 0]
    python benchmarks/universe_difficulty.py measure FILE --spread-ease --each 25 --first 1000000
    python benchmarks/universe_difficulty.py report FILE ... [--json FILE]
    python benchmarks/universe_difficulty.py fit FILE ...

``measure`` trains a small network with a sensible schedule on each task, fits ridge regression on
random features beside it (``--reference``) or instead (``--only-reference``, ten times as fast),
and appends a line of JSON for each; tasks that the file holds are not repeated. With
``--spread-ease`` it draws the ease evenly, a number of tasks for each family, and ``fit`` prints
the responses for ``accuracy_from_weights/zoo_training/universe/difficulty.py``. ``report`` prints
in Markdown how accuracies above chance are spread.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import nn

from accuracy_from_weights.zoo_training.universe import TaskData, images
from accuracy_from_weights.zoo_training.universe.difficulty import above_chance
from accuracy_from_weights.zoo_training.universe.task import _KINDS, draw_task

BATCH = 64
BINS = 10
TYPICAL = np.array([-0.3, 0.2])
"""By log2 of classes and of examples a class: what families' responses are shrunk towards."""


def network_for(task: TaskData) -> nn.Module:
    if task.kind == "table":
        width = task.x_train.shape[1]
        return nn.Sequential(
            nn.Linear(width, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 128), nn.ReLU(),
            nn.Dropout(0.1), nn.Linear(128, task.n_classes),
        )  # fmt: skip
    if task.kind == "tokens":
        return SequenceReader(task.vocabulary, task.n_classes)
    channels, flat = task.x_train.shape[1], task.kind == "image"
    convolution = nn.Conv2d if flat else nn.Conv1d
    normalisation = nn.BatchNorm2d if flat else nn.BatchNorm1d
    layers: list[nn.Module] = []
    size = task.x_train.shape[-1]
    width = 5 if not flat else 3
    for next_channels in (16, 32, 64):
        stride = 2 if size > 5 and (layers or (flat and size > 16)) else 1
        layers += [
            convolution(channels, next_channels, width, stride, width // 2),
            normalisation(next_channels),
            nn.ReLU(),
        ]
        channels, size = next_channels, -(-size // stride)
    pooled = 3 if flat else 6
    pool = nn.AdaptiveAvgPool2d(pooled) if flat else nn.AdaptiveAvgPool1d(pooled)
    places = pooled**2 if flat else pooled
    head = [pool, nn.Flatten(), nn.Dropout(0.1), nn.Linear(places * channels, task.n_classes)]
    return nn.Sequential(*layers, *head)


class SequenceReader(nn.Module):
    """Embedding, convolution, recurrent layer, mean and maximum over time."""

    def __init__(self, vocabulary: int, n_classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 32)
        self.convolution = nn.Conv1d(32, 48, 3, padding=1)
        self.recurrent = nn.GRU(48, 32, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * 64 + 32, n_classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits for sequences, shape (n, length)."""
        there = (tokens > 0).unsqueeze(-1).float()
        embedded = self.embedding(tokens) * there
        x = torch.relu(self.convolution(embedded.transpose(1, 2))).transpose(1, 2)
        x = self.recurrent(x)[0]
        length = there.sum(1).clamp(min=1)
        highest = (x - 9 * (1 - there)).amax(1)
        bag = embedded.sum(1) / length
        return self.head(torch.cat([(x * there).sum(1) / length, highest, bag], 1))


def inputs(x: np.ndarray) -> torch.Tensor:
    if x.dtype == np.uint8:
        return torch.from_numpy(x).float() / 127.5 - 1
    return torch.from_numpy(np.ascontiguousarray(x))


def train(task: TaskData, seed: int) -> tuple[float, float]:
    """Return test and training accuracy of one network at the end of its training."""
    torch.manual_seed(seed)
    model = network_for(task)
    x, y = inputs(task.x_train), torch.from_numpy(task.y_train)
    n = len(x)
    steps = min(max(25 * n // BATCH, 200), 450 if task.kind == "table" else 260)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, steps, pct_start=0.2)
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(n)
        batch, order = order[:BATCH], order[BATCH:]
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimiser.step()
        schedule.step()
    model.eval()

    def accuracy(x: torch.Tensor, y: np.ndarray) -> float:
        with torch.inference_mode():
            found = torch.cat([model(part).argmax(1) for part in x.split(1000)]).numpy()
        return float((found == y).mean())

    return accuracy(inputs(task.x_test), task.y_test), accuracy(x, task.y_train)


def random_features(task: TaskData, x: np.ndarray, seed: int) -> torch.Tensor:
    """Return what random patches of the data find, or counts of tokens and of pairs of them."""
    rng = np.random.default_rng(seed)
    if task.kind == "tokens":
        return pair_counts(x, task.vocabulary, rng)
    values = inputs(x)
    if task.kind == "table":
        weights = torch.from_numpy(rng.standard_normal((values.shape[1], 400), np.float32))
        return torch.cat([values, torch.relu(values @ weights / values.shape[1] ** 0.5)], 1)
    flat = task.kind == "image"
    source, size = inputs(task.x_train), x.shape[-1]
    found = []
    for width, dilation in ((3, 1), (5, 1)) if flat else ((7, 1), (7, 2), (7, 4)):
        reach = (width - 1) * dilation + 1
        if reach > size:
            continue
        n_patches = 64 if flat else 48
        rows, corners = rng.integers(len(source), size=n_patches), rng.integers(size - reach + 1)
        places = [slice(int(corners), int(corners) + reach, dilation)] * (2 if flat else 1)
        patches = source[(torch.from_numpy(rows), slice(None), *places)].clone()
        patches -= patches.mean(tuple(range(1, patches.ndim)), keepdim=True)
        patches += 0.02 * torch.from_numpy(rng.standard_normal(patches.shape, np.float32))
        patches /= patches.flatten(1).norm(dim=1).view(-1, *[1] * (patches.ndim - 1))
        convolve = nn.functional.conv2d if flat else nn.functional.conv1d
        for part in values.split(500):
            z = convolve(part, patches, dilation=dilation, stride=2 if flat and size > 16 else 1)
            z = torch.relu(z - z.std())
            pool = nn.functional.adaptive_avg_pool2d if flat else nn.functional.adaptive_avg_pool1d
            top = z.flatten(2).amax(2)
            found.append(torch.cat([pool(z, 2 if flat else 4).flatten(1), top], 1))
    parts = -(-len(values) // 500)
    blocks = [torch.cat(found[i : i + parts]) for i in range(0, len(found), parts)]
    small = nn.functional.adaptive_avg_pool2d(values, min(size, 8)) if flat else values[..., ::2]
    return torch.cat([*blocks, small.flatten(1)], 1)


def pair_counts(x: np.ndarray, vocabulary: int, rng: np.random.Generator) -> torch.Tensor:
    """Count tokens, pairs of neighbours and pairs at any distance, in order; hashed to 400 each."""
    names = rng.integers(400, size=(2, vocabulary, vocabulary))
    counts = np.zeros((len(x), vocabulary + 800), np.float32)
    for row, tokens in enumerate(x):
        tokens = tokens[tokens > 0]
        np.add.at(counts[row], tokens, 1)
        np.add.at(counts[row], vocabulary + names[0][tokens[:-1], tokens[1:]], 1)
        first, second = np.triu_indices(len(tokens), 1)
        np.add.at(counts[row], vocabulary + 400 + names[1][tokens[first], tokens[second]], 0.3)
    return torch.from_numpy(np.sqrt(counts))


def reference(task: TaskData, seed: int) -> float:
    """Return the test accuracy of ridge regression on random features."""
    x, x_test = (random_features(task, part, seed) for part in (task.x_train, task.x_test))
    mean, scale = x.mean(0), x.std(0) + 0.1 * x.std() + 1e-6
    x, x_test = ((torch.cat([(p - mean) / scale, torch.ones(len(p), 1)], 1)) for p in (x, x_test))
    target = nn.functional.one_hot(torch.from_numpy(task.y_train), task.n_classes).float()
    kept = torch.from_numpy(np.random.default_rng(seed).random(len(x)) < 0.8)

    def solved(x: torch.Tensor, target: torch.Tensor, penalty: float) -> torch.Tensor:
        gram = x.T @ x + penalty * len(x) * torch.eye(x.shape[1])
        return torch.linalg.solve(gram, x.T @ target)

    penalties = [0.003, 0.03, 0.3, 3.0]
    labels = torch.from_numpy(task.y_train)[~kept]
    right = [
        float(((x[~kept] @ solved(x[kept], target[kept], p)).argmax(1) == labels).float().mean())
        for p in penalties
    ]
    best = solved(x, target, penalties[int(np.argmax(right))])
    return float(((x_test @ best).argmax(1).numpy() == task.y_test).mean())


def measure(options: argparse.Namespace) -> None:
    path = options.files[0]
    path.touch()
    done = {(row["kind"], row["family"], row["seed"]) for row in read([path])}
    asked = list(_KINDS) if options.kind == "all" else options.kind.split(",")
    jobs: list[tuple[str, str | None, int]] = []
    if options.spread_ease:
        for i in range(options.each):
            names = [(kind, family) for kind in asked for family in _KINDS[kind].FAMILIES]
            jobs += [(kind, family, options.first + i) for kind, family in names]
    else:
        seeds = range(options.first, options.first + options.tasks)
        jobs = [(kind, None, seed) for seed in seeds for kind in asked]
    if options.family:
        jobs = [job for job in jobs if job[1] in options.family.split(",")]
    seen = {(kind, seed) for kind, _, seed in done}
    for kind, family, seed in jobs[options.part :: options.parts]:
        if (kind, family, seed) in done or (family is None and (kind, seed) in seen):
            continue
        ease = None
        if options.spread_ease:
            ease = float(np.random.default_rng([seed, len(family)]).uniform())
        start = time.perf_counter()
        task = draw_task(seed, kind, family=family, ease=ease)
        row = task.facts | {"seconds_to_make": round(time.perf_counter() - start, 3)}
        if not options.only_reference:
            start = time.perf_counter()
            test, training = train(task, seed)
            row["skill"] = round(above_chance(test, task.n_classes), 4)
            row["training_skill"] = round(above_chance(training, task.n_classes), 4)
            row["seconds_to_train"] = round(time.perf_counter() - start, 2)
        if options.reference or options.only_reference:
            other = reference(task, seed)
            row["reference_skill"] = round(above_chance(other, task.n_classes), 4)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def read(paths: list[Path]) -> list[dict[str, Any]]:
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return [json.loads(line) for line in lines]


def skill_of(row: dict[str, Any]) -> float:
    """Return the network's accuracy above chance, or the reference's where there is none."""
    return float(row.get("skill", row.get("reference_skill")))


def fit(options: argparse.Namespace) -> None:
    """Print the responses of all families: logistic regressions of skill, lightly shrunk."""
    rows = read(options.files)
    for family in dict.fromkeys(row["family"] for row in rows):
        of = [row for row in rows if row["family"] == family]
        x = np.array(
            [
                [
                    1.0,
                    r["ease"],
                    math.log2(r["n_classes"]),
                    math.log2(r["n_train"] / r["n_classes"]),
                ]
                for r in of
            ]
        )
        skill = np.array([skill_of(r) / (1 - r["unknowable_labels"]) for r in of])
        start = np.array([above_chance(r["largest_class"], r["n_classes"]) for r in of])
        y = np.clip((skill - start) / (1 - start), 0.0, 1.0)

        def loss(b: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> float:
            z = x @ b
            return float((np.logaddexp(0, z) - y * z).sum() + 2 * ((b[2:] - TYPICAL) ** 2).sum())

        b = minimize(loss, np.array([-3.0, 6.0, 0.0, 0.0])).x
        error = np.abs(1 / (1 + np.exp(-(x @ b))) - y).mean()
        numbers = ", ".join(f"{value:.2f}" for value in b)
        low, high = (float(np.mean(y[(x[:, 1] > a) & (x[:, 1] <= a + 0.2)])) for a in (0, 0.8))
        print(
            f'    "{family}": Response({numbers}),  # {len(of)} tasks, off by {error:.3f}; '
            f"{low:.2f} to {high:.2f}"
        )


def histogram(values: list[float]) -> list[int]:
    return np.histogram(np.clip(values, 0, 0.9999), np.linspace(0, 1, BINS + 1))[0].tolist()


def report(options: argparse.Namespace) -> None:
    rows = read(options.files)
    groups = {"all": rows}
    for name in ("kind", "family"):
        for value in dict.fromkeys(row[name] for row in rows):
            groups[value] = [row for row in rows if row[name] == value]
    print(
        "| tasks | number | by tenths of accuracy above chance | deciles 1, 5, 9 | aim missed by |"
    )
    print("|---|---|---|---|---|")
    found = {}
    for name, of in groups.items():
        skills = [skill_of(row) for row in of]
        deciles = np.quantile(skills, (0.1, 0.5, 0.9)).round(2).tolist()
        missed = float(np.mean([abs(row["aim"] - skill_of(row)) for row in of]))
        found[name] = {"tasks": len(of), "histogram": histogram(skills), "deciles": deciles}
        counts = " ".join(map(str, histogram(skills)))
        print(f"| {name} | {len(of)} | {counts} | {', '.join(map(str, deciles))} | {missed:.2f} |")
    both = [row for row in rows if "reference_skill" in row and "skill" in row]
    if both:
        for kind in dict.fromkeys(row["kind"] for row in both):
            of = [row for row in both if row["kind"] == kind]
            values = [row["reference_skill"] for row in of]
            ahead = np.mean([row["skill"] > row["reference_skill"] for row in of])
            counts = " ".join(map(str, histogram(values)))
            print(f"\nRidge regression, {kind}: {counts}; the network is ahead in {ahead:.0%}.")
    made = np.mean([row["seconds_to_make"] for row in rows])
    print(f"\nA task is made in {made:.2f} seconds in the mean.")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["measure", "report", "fit"])
    parser.add_argument("files", nargs="+", type=Path, help="lines of JSON, one a task")
    parser.add_argument("--kind", default="all", help="kinds of tasks, separated by commas")
    parser.add_argument("--family", help="only these families, separated by commas")
    parser.add_argument("--tasks", type=int, default=200, help="number of seeds of each kind")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--spread-ease", action="store_true")
    parser.add_argument("--each", type=int, default=25, help="tasks a family, with --spread-ease")
    parser.add_argument("--reference", action="store_true", help="ridge regression too")
    parser.add_argument("--only-reference", action="store_true", help="train no networks")
    parser.add_argument("--part", type=int, default=0, help="this process takes part PART ...")
    parser.add_argument("--parts", type=int, default=1, help="... of PARTS")
    parser.add_argument("--json", help="write the report's numbers there")
    parser.add_argument("--most-values", type=int, help="make fewer images where they are large")
    options = parser.parse_args()
    if options.most_values:
        images._MOST_VALUES = options.most_values
    torch.set_num_threads(1)
    {"measure": measure, "report": report, "fit": fit}[options.command](options)


if __name__ == "__main__":
    main()
