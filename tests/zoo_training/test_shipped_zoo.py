"""The zoo that the shipped predictors are fitted to is what its card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accuracy_from_weights.predictor.pretrained import (
    load_predictor,
    shipped_feature_sets,
    shipped_file,
)
from accuracy_from_weights.zoo.table import ZooTable

FOLDER = Path(__file__).parents[2] / "zoo"
DATASETS = {"cifar10_grey", "digits", "fashion_mnist", "mnist", "usps"}


@pytest.fixture(scope="module")
def table() -> ZooTable:
    return ZooTable.load(FOLDER / "table.npz")


@pytest.mark.parametrize(("family", "at_least"), [("paper", 2_500), ("wild", 1_200)])
def test_as_many_networks_as_the_card_says(table: ZooTable, family: str, at_least: int) -> None:
    part = table.subset(table.hyperparameters["family"] == family)
    assert len(np.unique(part.runs)) >= at_least
    assert set(part.datasets) == DATASETS
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{len(np.unique(part.runs)):,}" in card
    assert f"{len(part):,}" in card


@pytest.mark.parametrize("features", shipped_feature_sets())
def test_the_shipped_predictors_are_fitted_to_it(table: ZooTable, features: str) -> None:
    predictor = load_predictor(features=features)
    assert predictor.features == features
    assert predictor.card_["zoo"]["fingerprint"] == table.fingerprint
    assert predictor.card_["n_runs"] == len(np.unique(table.runs))


def test_what_is_committed_is_small() -> None:
    files = [FOLDER / "table.npz", *map(shipped_file, shipped_feature_sets())]
    assert sum(file.stat().st_size for file in files) < 20e6
