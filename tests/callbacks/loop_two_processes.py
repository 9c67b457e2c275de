"""Trains a loop of one's own in two processes; each writes down what it saw. Run by a test."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed

from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.stopping import Patience
from tests.callbacks.loop import KEY, network, train
from tests.callbacks.scripted import ReadsWeights, Scripted


def main(folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    seen = {}
    for name, monitor in (("without", None), ("with", Monitor(ReadsWeights()))):
        model = network(seed=1)
        shared = torch.nn.parallel.DistributedDataParallel(model)
        torch.manual_seed(rank)  # each process draws batches of its own
        estimates = []

        def after_epoch(epoch, monitor=monitor, shared=shared, estimates=estimates):
            if monitor is not None:
                estimates.append(monitor.update(shared, epoch)[KEY])

        train(shared, 2, after_epoch)
        weights = [parameter.sum().item() for parameter in model.parameters()]
        seen[name] = {"estimates": estimates, "weights": weights}

    # The processes see different things, and what the first decides holds for all.
    monitor = Monitor(Scripted([0.5] if rank == 0 else [0.1, 0.2, 0.3, 0.4]), stopping=Patience(2))
    shared = torch.nn.parallel.DistributedDataParallel(network())

    def stops(epoch: int) -> bool:
        monitor.update(shared, epoch)
        stop = torch.tensor(monitor.should_stop)
        torch.distributed.broadcast(stop, src=0)
        return bool(stop)

    seen["stopped after"] = len(train(shared, 9, stops))
    (folder / f"rank{rank}.json").write_text(json.dumps(seen))
    # A process that leaves while the other one still talks to it takes it along.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]))
    # On a busy machine a thread of gloo's that still runs when Python ends aborts the process, with
    # all of its work done.
    sys.stdout.flush()
    os._exit(0)
