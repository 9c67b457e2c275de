"""Ray Tune: a search whose scheduler sees the estimate, so that no trial needs validation data.

    python examples/ray_tune_search.py

Needs the extra torch and ray[tune]. The 300 images left out only show the truth.
"""

import os
import tempfile

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from sklearn.datasets import load_digits
from sklearn.utils import shuffle
from torch import nn

from accuracy_from_weights.callbacks.torch import Monitor


def train(config):
    torch.manual_seed(0)
    pixels, labels = map(torch.from_numpy, shuffle(*load_digits(return_X_y=True), random_state=0))
    images = (pixels.float() / 8 - 1).reshape(-1, 1, 8, 8)
    images = images.repeat_interleave(3, 2).repeat_interleave(3, 3)
    convolutions = [nn.Sequential(nn.Conv2d(n, 16, 3, 2), nn.ReLU()) for n in (1, 16, 16)]
    model = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(model.parameters(), config["learning_rate"])
    monitor = Monitor(sample=(images[:-300], labels[:-300]))
    for epoch in range(8):
        for rows in torch.randperm(len(images) - 300).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
        truth = (model(images[-300:]).argmax(1) == labels[-300:]).float().mean().item()
        tune.report({**monitor.update(model, epoch), "truth": truth})


os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # Tune's own report would be longer than ours
ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
with tempfile.TemporaryDirectory() as folder:
    results = tune.Tuner(
        train,
        param_space={"learning_rate": tune.grid_search([3e-3, 1e-2, 1e-3, 1e-4, 1e-5])},
        tune_config=tune.TuneConfig(
            metric="accuracy_from_weights",
            mode="max",
            reuse_actors=True,
            scheduler=ASHAScheduler(max_t=8, grace_period=2, reduction_factor=2),
        ),
        run_config=tune.RunConfig(storage_path=folder, verbose=0),
    ).fit()
    for result in results:
        rate, seen = result.config["learning_rate"], result.metrics
        told = f"estimate {seen['accuracy_from_weights']:.3f}  truth {seen['truth']:.3f}"
        print(f"learning rate {rate:.5f}  {seen['training_iteration']} epochs  {told}")
    print("best by its estimate:", results.get_best_result().config)
