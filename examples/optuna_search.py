"""Optuna: a search whose pruner sees the estimate, so that no trial needs validation data.

    python examples/optuna_search.py

Needs the extras torch and optuna. The 300 images left out only show the truth.
"""

import optuna
import torch
from sklearn.datasets import load_digits
from sklearn.utils import shuffle
from torch import nn

from accuracy_from_weights.callbacks.torch import Monitor

pixels, labels = map(torch.from_numpy, shuffle(*load_digits(return_X_y=True), random_state=0))
images = (pixels.float() / 8 - 1).reshape(-1, 1, 8, 8)
images = images.repeat_interleave(3, 2).repeat_interleave(3, 3)


def objective(trial):
    torch.manual_seed(trial.number)
    convolutions = [nn.Sequential(nn.Conv2d(n, 16, 3, 2), nn.ReLU()) for n in (1, 16, 16)]
    model = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    rate = trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    monitor = Monitor(sample=(images[:-300], labels[:-300]))
    for epoch in range(8):
        for rows in torch.randperm(len(images) - 300).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
        estimate = monitor.update(model, epoch)["accuracy_from_weights"]
        with torch.no_grad():
            truth = (model(images[-300:]).argmax(1) == labels[-300:]).float().mean()
        trial.set_user_attr("truth", float(truth))
        trial.report(estimate, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return estimate


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    direction="maximize",
    sampler=optuna.samplers.RandomSampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
)
study.optimize(objective, n_trials=10)
for trial in study.trials:
    print(
        f"trial {trial.number}  learning rate {trial.params['learning_rate']:.5f}  "
        f"{len(trial.intermediate_values)} epochs  estimate {trial.value:.3f}  "
        f"truth {trial.user_attrs['truth']:.3f}  {trial.state.name.lower()}"
    )
print(f"best by its estimate: trial {study.best_trial.number}")
