"""What estimates on the server gain where some clients are broken: a simulation on real data.

    python benchmarks/federated.py [--seeds 5] [--rounds 8] [--first-seed 0] [--json FILE]

Ten clients share scikit-learn's digits (1,297 images, 500 held out to measure the truth); four of
them are broken: two learn random labels, one diverges (its step size is 300 times too large), one
sends an untrained network. Every strategy sees the same clients, start and order. Needs the extra
flower. From benchmarks/results/federated.json docs/make_numbers.py makes the table of
docs/federated.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedMedian, Krum, Strategy
from flwr.supercore.task_identity import TaskIdentity
from networks import paper_network
from torch import nn

from accuracy_from_weights.cli.demo_training import load_digits
from accuracy_from_weights.integrations.flower import AccuracyFromWeights, Update

N_CLIENTS = 10
BROKEN = {0: "label noise", 1: "label noise", 2: "diverged", 3: "untrained"}
BELOW_BEST = 0.1
LEARNING_RATE = 3e-3


@dataclass
class Client:
    """Trains on images of its own, or fails to."""

    x: torch.Tensor
    y: torch.Tensor
    fault: str | None
    seed: int

    def train(self, arrays: ArrayRecord, epochs: int = 5) -> ArrayRecord:
        """Train from the server's weights and give the new ones."""
        torch.manual_seed(self.seed)
        self.seed += 1
        model = paper_network()
        if self.fault == "untrained":
            return ArrayRecord(model.state_dict())
        model.load_state_dict(arrays.to_torch_state_dict())
        rate = LEARNING_RATE * (300 if self.fault == "diverged" else 1)
        y = torch.randint(0, 10, self.y.shape) if self.fault == "label noise" else self.y
        optimizer = torch.optim.Adam(model.parameters(), rate)
        for _ in range(epochs):
            for rows in torch.randperm(len(y)).split(32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(self.x[rows]), y[rows]).backward()
                optimizer.step()
        return ArrayRecord(model.state_dict())


class InProcess:
    """The clients that a strategy of Flower's talks to, without processes or a network.

    It has of a `flwr.serverapp.Grid` what strategies call; the rest is for Flower's runtime.
    """

    def __init__(self, clients: list[Client]) -> None:
        self.clients = dict(enumerate(clients))

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Have each client answer."""
        return [self._answer(message) for message in messages]

    def _answer(self, message: Message) -> Message:
        client = self.clients[message.metadata.dst_node_id]
        arrays = client.train(message.content["arrays"])
        metrics = MetricRecord({"num-examples": len(client.y)})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    def get_node_ids(self) -> Iterable[int]:
        """Give a number a client."""
        return list(self.clients)


def fedavg() -> FedAvg:
    return FedAvg(fraction_evaluate=0.0)


STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "FedAvg": fedavg,
    "FedMedian": lambda: FedMedian(fraction_evaluate=0.0),
    "Krum (told that 4 are broken)": lambda: Krum(
        fraction_evaluate=0.0, num_malicious_nodes=len(BROKEN)
    ),
    "FedMedian, only_sound=True": lambda: AccuracyFromWeights(
        FedMedian(fraction_evaluate=0.0), only_sound=True
    ),
    "FedAvg, only_sound=True": lambda: AccuracyFromWeights(fedavg(), only_sound=True),
    f"FedAvg, only_sound=True, below_best={BELOW_BEST}": lambda: AccuracyFromWeights(
        fedavg(), only_sound=True, below_best=BELOW_BEST
    ),
}
CEILING = "FedAvg without the broken clients"


def simulate(strategy: Strategy, seed: int, rounds: int, with_broken: bool = True) -> float:
    """Run a federation and give the true accuracy of its last model, a fraction."""
    data = load_digits()
    x, x_test = (
        torch.as_tensor(part.astype(np.float32)) / 127.5 - 1 for part in (data.x_train, data.x_test)
    )
    y, y_test = (torch.as_tensor(part.astype(np.int64)) for part in (data.y_train, data.y_test))
    order = torch.as_tensor(np.random.default_rng(seed).permutation(len(y)))
    clients = [
        Client(x[rows], y[rows], BROKEN.get(number), 1000 * seed + 100 * number)
        for number, rows in enumerate(order.chunk(N_CLIENTS))
        if with_broken or number not in BROKEN
    ]
    torch.manual_seed(seed)
    model = paper_network()
    result = strategy.start(
        InProcess(clients), initial_arrays=ArrayRecord(model.state_dict()), num_rounds=rounds
    )
    model.load_state_dict(result.arrays.to_torch_state_dict())
    with torch.no_grad():
        answers = model(x_test).argmax(1)
    return float((answers == y_test).float().mean())


def shares(updates: list[Update]) -> dict[str, float]:
    """Return which share of each kind of client's updates was left out."""
    kinds: dict[str, list[bool]] = {}
    for update in updates:
        kinds.setdefault(BROKEN.get(update.node_id, "honest"), []).append(update.left_out)
    return {kind: float(np.mean(out)) for kind, out in sorted(kinds.items())}


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write each number to this file")
    options = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    # What Flower's runtime would say of the process; messages bear it.
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    print(f"true accuracy after {options.rounds} rounds, {options.seeds} seeds\n")
    print("| strategy | mean | lowest | highest |\n|---|---|---|---|")
    started, found = time.time(), []
    for name, make in {CEILING: fedavg, **STRATEGIES}.items():
        ends, updates = [], []
        for seed in seeds:
            strategy = make()
            ends.append(simulate(strategy, seed, options.rounds, name != CEILING))
            updates += getattr(strategy, "updates", [])
        print(f"| {name} | {np.mean(ends):.3f} | {min(ends):.3f} | {max(ends):.3f} |", flush=True)
        found.append({"strategy": name, "accuracies": ends, "left_out": shares(updates)})
    print()
    for one in found:
        if one["left_out"]:
            said = ", ".join(f"{kind} {share:.0%}" for kind, share in one["left_out"].items())
            print(f"left out by {one['strategy']}: {said}")
    print(f"{time.time() - started:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
