"""The zoo that the shipped predictors are fitted to is what its card says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.features.description import describe
from accuracy_from_weights.predictor.pretrained import (
    load_predictor,
    shipped_feature_sets,
    shipped_file,
)
from accuracy_from_weights.weights import read_weights
from accuracy_from_weights.zoo.network_file import write_state_dict
from accuracy_from_weights.zoo.recipes.recipe_files import load_recipe
from accuracy_from_weights.zoo.table import ZooTable
from accuracy_from_weights.zoo_training.builder import rebuild_network
from accuracy_from_weights.zoo_training.universe_data import UniverseData

sys.path.insert(0, str(Path(__file__).parents[2] / "zoo"))

import make_card
import page_marks

FOLDER = make_card.FOLDER
DATASETS = {"cifar10_grey", "digits", "fashion_mnist", "mnist", "usps"}


@pytest.fixture(scope="module")
def table() -> ZooTable:
    return ZooTable.load(FOLDER / "table.npz")


def test_the_card_holds_what_the_table_holds(table: ZooTable) -> None:
    """Else run python zoo/make_card.py."""
    made = make_card.made(table)
    for page in make_card.PAGES:
        text = page.read_text(encoding="utf-8")
        assert page_marks.filled(text, made) == text
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert set(page_marks.names_in(card)) == made.keys()


def test_generated_tasks_and_real_data_sets_can_be_told_apart(table: ZooTable) -> None:
    generated = np.char.startswith(table.tasks, "universe-")
    assert set(table.tasks[~generated]) == DATASETS
    assert len(np.unique(table.tasks[generated])) > 1_200
    assert set(table.hyperparameters["input_kind"][generated]) == set(make_card.KINDS)
    assert np.unique(table.runs, return_counts=True)[1].max() == 3


@pytest.mark.parametrize("features", shipped_feature_sets())
def test_the_shipped_predictors_are_fitted_to_it(table: ZooTable, features: str) -> None:
    predictor = load_predictor(features=features)
    assert predictor.features == features
    assert predictor.card_["zoo"]["fingerprint"] == table.fingerprint
    assert predictor.card_["n_runs"] == len(np.unique(table.having(features).runs))


def test_what_is_committed_is_small() -> None:
    files = [FOLDER / "table.npz", *map(shipped_file, shipped_feature_sets())]
    assert sum(file.stat().st_size for file in files) < 20e6


@pytest.mark.parametrize("index", [24, 55])
def test_a_network_of_the_universe_built_once_more(
    table: ZooTable, tmp_path: Path, index: int
) -> None:
    recipe, data = load_recipe(FOLDER / "recipes/universe.toml"), UniverseData()
    seed = recipe.draw(index, 0, data.facts).seed
    rows = np.flatnonzero(table.hyperparameters["random_seed"] == seed)
    assert len(rows) == 3
    network = rebuild_network(recipe, data, index, seed=0)
    rebuilt = dict(
        zip(network.header["steps"], network.header["history"]["test_accuracy"], strict=True)
    )
    for row in rows:
        assert rebuilt[table.steps[row]] == pytest.approx(table.accuracy[row], abs=0.02)
    last = rows[np.argmax(table.steps[rows])]
    assert table.accuracy[last] > rebuilt[0] + 0.4  # it has learned
    write_state_dict(network.weights, tmp_path / "network.npz")
    features = describe(read_weights(tmp_path / "network.npz"))[0]
    difference = np.abs(features - table.features[last]) / (0.01 + np.abs(features))
    assert np.median(difference) < 0.01
