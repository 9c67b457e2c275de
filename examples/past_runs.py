"""Your own past runs: a predictor fitted to checkpoints and a CSV file of their accuracies.

    python examples/past_runs.py

Needs the extra torch. It trains 30 short runs for want of yours; what a user has is the folder of
checkpoints and runs.csv, and what a user types is the two commands that are called at the end.
"""

import csv
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from accuracy_from_weights.cli import main

pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
images = (pixels.float() / 8 - 1).reshape(-1, 1, 8, 8)


def train(folder, run, learning_rate):
    """Train a run, save three checkpoints, and give a line of the CSV file for each."""
    torch.manual_seed(run)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, momentum=0.9)
    for epoch in range(10):
        for rows in torch.randperm(len(images) - 500).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
        if epoch in (0, 3, 9):
            file = f"run{run}-epoch{epoch}.pt"
            torch.save(model.state_dict(), folder / file)
            with torch.no_grad():
                right = model(images[-500:]).argmax(1) == labels[-500:]
            yield {"file": file, "run": run, "accuracy": round(float(right.float().mean()), 4)}


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    rates = np.exp(np.random.default_rng(0).uniform(np.log(1e-4), np.log(0.3), 31))
    lines = [line for run, rate in enumerate(rates) for line in train(folder, run, rate)]
    past, new = lines[:-3], lines[-3:]
    with (folder / "runs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "run", "accuracy"])
        writer.writeheader()
        writer.writerows(past)

    mine = folder / "mine.predictor"
    main(["retrain", str(folder / "runs.csv"), "--output", str(mine)], standalone_mode=False)
    print("\na run that the predictor has not seen: true accuracies", [r["accuracy"] for r in new])
    files = [str(folder / line["file"]) for line in new]
    main(["estimate", *files, "--predictor", str(mine)], standalone_mode=False)
