"""What answers on a sample of training data add to the training log, on tasks never seen.

``python benchmarks/sample_answers.py ROWS.npz --minutes 60 --real mnist fashion_mnist`` trains
small networks on tasks of the universe, every third on one of the real data sets, with few to many
examples, some with wrong labels, some far too long. It describes four moments of each training and
adds them to ROWS.npz, so that it can be stopped and started again. Then it fits trees to the
universe's rows alone and prints, for real data sets and for tasks left out, how far estimates are
off. Several processes may work at once, each with a file and a ``--rank`` of its own;
``--minutes 0`` with several files prints the figures of all of them.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from torch import Tensor, nn

from accuracy_from_weights.features.training_sample import (
    SAMPLE_NAMES,
    describe_sample,
    take_sample,
)
from accuracy_from_weights.zoo_training.datasets import load_images
from accuracy_from_weights.zoo_training.universe import make_task

F = nn.functional
LOG = ("train_accuracy", "train_loss", "log_n", "log_classes")
FACTS = ("accuracy", "wrong_labels", "is_real", "is_last", "task", "kind")
KINDS = ("image", "table", "tokens", "signal")
IMAGE_SIDE = 16
NETWORKS_A_TASK = 3
MOMENTS = (0.1, 0.3, 0.6, 1.0)
BATCH = 32


class Tokens(nn.Module):
    """An embedding, then what is between, then a dense layer on the mean over the tokens."""

    def __init__(self, vocabulary: int, width: int, kind: str, n_classes: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.kind = kind
        if kind == "gru":
            self.between: nn.Module = nn.GRU(width, width, batch_first=True)
        elif kind == "attention":
            self.between = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True)
        else:
            self.between = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (n, n_classes)."""
        z = self.between(self.embed(x))
        return self.head(z[0].mean(1) if self.kind == "gru" else z.mean(1))


def make_network(
    rng: np.random.Generator, kind: str, shape: tuple[int, ...], vocabulary: int, n_classes: int
) -> nn.Module:
    """Build a small network of a random architecture for a kind of input."""
    width, depth = int(rng.choice([16, 32, 48])), int(rng.integers(1, 4))
    act = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[
        str(rng.choice(["relu", "relu", "tanh", "gelu"]))
    ]
    normalised = rng.random() < 0.5
    if kind == "tokens":
        return Tokens(vocabulary, width, str(rng.choice(["bag", "gru", "attention"])), n_classes)
    layers: list[nn.Module] = []
    if kind == "table" or (kind == "image" and rng.random() < 0.25):
        inside = math.prod(shape)
        layers.append(nn.Flatten())
        for _ in range(depth):
            layers.append(nn.Linear(inside, 2 * width))
            layers += [nn.BatchNorm1d(2 * width)] if normalised else []
            layers.append(act())
            inside = 2 * width
        return nn.Sequential(*layers, nn.Linear(inside, n_classes))
    conv, norm, pool = (
        (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d)
        if kind == "image"
        else (nn.Conv1d, nn.BatchNorm1d, nn.AdaptiveAvgPool1d)
    )
    inside = shape[0]
    for layer in range(depth + 1):
        layers.append(conv(inside, width, 3, 2 if layer < 2 else 1, 1))
        layers += [norm(width)] if normalised else []
        layers.append(act())
        inside = width
    return nn.Sequential(*layers, pool(1), nn.Flatten(), nn.Linear(width, n_classes))


def load_task(seed: int, real: str | None) -> tuple[str, Tensor, Tensor, Tensor, Tensor, int, int]:
    """Return kind, inputs and classes to train and to test on, classes, vocabulary."""
    if real is None:
        task = make_task(seed)
        kind, vocabulary = task.kind, task.vocabulary or 0
        parts = task.x_train, task.y_train, task.x_test, task.y_test
        n_classes = task.n_classes
    else:
        data = load_images(real, size=IMAGE_SIDE, n_train=3000, n_test=1500, seed=seed)
        kind, vocabulary, n_classes = "image", 0, data.n_classes
        parts = data.x_train, data.y_train, data.x_test, data.y_test
    x, y, x_test, y_test = (torch.tensor(np.asarray(part)) for part in parts)
    if kind == "image":
        x, x_test = (
            F.interpolate(
                z.float() / 127.5 - 1 if z.dtype == torch.uint8 else z.float(),
                size=(IMAGE_SIDE, IMAGE_SIDE),
                mode="area",
            )
            for z in (x, x_test)
        )
    return kind, x, y.long(), x_test[:1500], y_test[:1500].long(), n_classes, vocabulary


def train(seed: int, task: tuple[Any, ...], name: str, is_real: bool) -> list[dict[str, Any]]:
    """Train one network and describe it at four moments."""
    kind, pool, classes, x_test, y_test, n_classes, vocabulary = task
    rng = np.random.default_rng([7, seed])
    torch.manual_seed(seed)
    n = min(int(np.exp(rng.uniform(np.log(80), np.log(3000)))), len(pool))
    chosen = torch.tensor(rng.permutation(len(pool))[:n])
    x, y = pool[chosen], classes[chosen].clone()
    wrong = float(rng.choice([0, 0, 0, rng.uniform(0.1, 0.6)]))
    changed = torch.tensor(rng.random(n) < wrong)
    y[changed] = torch.randint(0, n_classes, (int(changed.sum()),))
    network = make_network(rng, kind, tuple(x.shape[1:]), vocabulary, n_classes)
    rate = 10 ** rng.uniform(-3.3, -2)
    decay = float(rng.choice([0, 0, 1e-3]))
    optimizer = torch.optim.Adam(network.parameters(), rate, weight_decay=decay)
    steps = int(np.exp(rng.uniform(np.log(60), np.log(800))))
    moments = {max(int(steps * share), 1) for share in MOMENTS}
    sample = take_sample(network, x, y)
    rows, order = [], torch.randperm(n)
    for step in range(1, steps + 1):
        if len(order) < min(BATCH, n):
            order = torch.randperm(n)
        batch, order = order[:BATCH], order[BATCH:]
        if len(batch) < 2:
            continue
        network.train()
        optimizer.zero_grad()
        F.cross_entropy(network(x[batch]), y[batch]).backward()
        optimizer.step()
        if step in moments:
            network.eval()
            with torch.no_grad():
                known, unknown = network(x), network(x_test)
            facts = {
                "accuracy": (unknown.argmax(1) == y_test).float().mean().item(),
                "wrong_labels": wrong, "is_real": is_real, "is_last": step == steps,
                "task": name, "kind": kind,
                "train_accuracy": (known.argmax(1) == y).float().mean().item(),
                "train_loss": min(F.cross_entropy(known, y).item(), 50),
                "log_n": np.log10(n), "log_classes": np.log(n_classes),
            }  # fmt: skip
            row = describe_sample(network, sample)
            if np.isfinite(row).all():
                rows.append(facts | dict(zip(SAMPLE_NAMES, row.tolist(), strict=True)))
    return rows


def read_rows(files: list[Path]) -> dict[str, NDArray[Any]]:
    """Return the columns of all files, one after another."""
    parts = [np.load(file) for file in files if file.exists()]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0].files}


def collect(file: Path, minutes: float, real: list[str], rank: int) -> None:
    """Train networks until the time is over and add their rows to a file."""
    rows: list[dict[str, Any]] = []
    done = 0
    if file.exists():
        known = read_rows([file])
        rows = [
            dict(zip(known, values, strict=True)) for values in zip(*known.values(), strict=True)
        ]
        done = int(known["network"].max()) + 1
    until = time.monotonic() + 60 * minutes
    task, current = None, None
    while time.monotonic() < until:
        block = done // NETWORKS_A_TASK
        data = real[(block // 3 + rank) % len(real)] if real and block % 3 == 2 else None
        if current != block:
            task, current = load_task(100_000 * rank + block, data), block
        name = f"universe-{rank}-{block}" if data is None else Path(data).stem
        assert task is not None
        found = train(100_000 * rank + done, task, name, data is not None)
        rows += [row | {"network": done} for row in found]
        done += 1
        if done % 10 == 0 and rows:
            print(f"{done} networks, {len(rows)} rows", flush=True)
            columns = {key: np.array([row[key] for row in rows]) for key in rows[-1]}
            np.savez_compressed(file, **columns)


def estimate(
    x: NDArray[Any], y: NDArray[Any], fit: NDArray[np.bool_], test: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Fit trees of two kinds and return the mean of their estimates."""
    models = (
        ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.4, random_state=0),
        HistGradientBoostingRegressor(
            max_iter=150, learning_rate=0.06, max_leaf_nodes=8, max_features=0.5, random_state=0
        ),
    )
    return np.mean([model.fit(x[fit], y[fit]).predict(x[test]) for model in models], axis=0)


def figures(estimates: NDArray[Any], truth: NDArray[Any], tasks: NDArray[Any]) -> str:
    """Return R2 over all, Kendall's tau as its mean over data sets, and the error in points."""
    if len(truth) < 3:
        return "too few"
    left = ((estimates - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    taus = [
        kendalltau(estimates[tasks == task], truth[tasks == task])[0]
        for task in np.unique(tasks)
        if (tasks == task).sum() >= 5
    ]
    tau = f"{np.nanmean(taus):.2f}" if taus else "-"
    return f"{1 - left:5.2f} / {tau} / {100 * np.abs(estimates - truth).mean():4.1f}"


def report(columns: dict[str, NDArray[Any]]) -> None:
    """Print how far estimates are off, by what they read."""
    y, tasks, kinds = columns["accuracy"], columns["task"], columns["kind"]
    is_real, is_last = columns["is_real"].astype(bool), columns["is_last"].astype(bool)
    x = np.stack([columns[name] for name in (*LOG, *SAMPLE_NAMES)], axis=1).astype(float)
    task_only = [
        name.startswith(("is_", "log_ex", "largest", "nearest", "learner")) for name in SAMPLE_NAMES
    ]
    changed = ["." in name for name in SAMPLE_NAMES]
    log = np.ones(len(LOG), bool)
    views = {
        "log": np.concatenate([log, np.zeros(len(SAMPLE_NAMES), bool)]),
        "log and the sample itself": np.concatenate([log, task_only]),
        "log and sample, without changed examples": np.concatenate([log, ~np.array(changed)]),
        "log and sample": np.ones(x.shape[1], bool),
    }
    universe = np.unique(tasks[~is_real])
    fold = {name: i % 5 for i, name in enumerate(np.random.default_rng(0).permutation(universe))}
    folds = np.array([fold.get(name, -1) for name in tasks])
    print(f"{len(universe)} tasks of the universe, {(~is_real).sum()} rows; R2 / tau / points")
    for name, view in {"training accuracy as it is": None, **views}.items():
        if view is None:
            estimates = columns["train_accuracy"].astype(float)
        else:
            estimates = np.zeros(len(y))
            if is_real.any():
                estimates[is_real] = estimate(x[:, view], y, ~is_real, is_real)
            for k in range(5):
                held_out = folds == k
                estimates[held_out] = estimate(x[:, view], y, ~is_real & ~held_out, held_out)
        parts = {"real, all": is_real & is_last}
        parts["real, train > .95"] = parts["real, all"] & (columns["train_accuracy"] > 0.95)
        parts["real, wrong labels"] = parts["real, all"] & (columns["wrong_labels"] > 0)
        parts |= {f"{kind}s left out": ~is_real & is_last & (kinds == kind) for kind in KINDS}
        print(name)
        for part, rows in parts.items():
            print(
                f"    {part:20s} {rows.sum():5d}  {figures(estimates[rows], y[rows], tasks[rows])}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, help="rows; the first one is added to")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--real", nargs="*", default=["digits"], help="as zoo build --data")
    parser.add_argument("--rank", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.minutes > 0:
        collect(asked.files[0], asked.minutes, asked.real, asked.rank)
    report(read_rows(asked.files))


if __name__ == "__main__":
    main()
