"""The recipe for Optuna: report the estimate, and let the pruner decide."""

from __future__ import annotations

import re

import optuna
import pytest

from accuracy_from_weights.callbacks.torch import Monitor
from tests.callbacks.loop import network, train
from tests.callbacks.scripted import Scripted
from tests.docs.page_blocks import block_of
from tests.examples.example_runs import run_example

KEY = "accuracy_from_weights"


def objective(answers):
    def run(trial: optuna.Trial) -> float:
        monitor, model = Monitor(Scripted(answers[trial.number])), network()

        def after_epoch(epoch):
            trial.report(monitor.update(model, epoch)[KEY], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        train(model, 3, after_epoch)
        return answers[trial.number][-1]

    return run


def test_trials_whose_estimate_lags_are_pruned():
    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=2)
    )
    answers = [[0.3, 0.5, 0.7], [0.3, 0.6, 0.8], [0.2, 0.2, 0.9], [0.4, 0.7, 0.9]]
    study.optimize(objective(answers), n_trials=4)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE"]
    assert study.trials[2].intermediate_values == {0: 0.2}
    assert study.best_trial.number == 3


def test_successive_halving_gets_values_at_every_epoch():
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.optimize(objective([[0.9] * 3, [0.1] * 3]), n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_example_prunes_slow_learners_and_finds_a_good_rate():
    text = run_example("optuna_search")
    trials = re.findall(r"rate (\S+)  (\d) epochs  estimate (\S+)  truth (\S+)  (\w+)", text)
    assert len(trials) == 10
    assert {state for *_, state in trials} == {"complete", "pruned"}
    best = int(re.search(r"best by its estimate: trial (\d+)", text)[1])
    truths = [float(truth) for *_, truth, state in trials if state == "complete"]
    assert float(trials[best][3]) > max(truths) - 0.15


def test_the_recipe_of_the_page_runs_word_for_word():
    """The block of docs/search.md."""
    names = {
        "optuna": optuna,
        "x": None,
        "y": None,
        "Monitor": lambda sample: Monitor(Scripted([0.2, 0.3])),
        "make_model": lambda trial: network(),
        "train_one_epoch": lambda model: train(model, 1, lambda epoch: None),
        "epochs": 2,
    }
    exec(block_of("search.md", "optuna.TrialPruned"), names)
    assert len(names["study"].trials) == 10
