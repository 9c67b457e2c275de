from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.features.feature_sets import feature_names
from accuracy_from_weights.features.training_sample import SAMPLE_NAMES
from accuracy_from_weights.zoo.reading import read_zoo
from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.recipes.universe import UniverseRecipe
from accuracy_from_weights.zoo.recipes.wild import WildRecipe
from accuracy_from_weights.zoo.store import ZooStore
from accuracy_from_weights.zoo.table import ZooTable, concatenate
from accuracy_from_weights.zoo_training.builder import build_zoo, rebuild_network
from accuracy_from_weights.zoo_training.tasks import examples_of
from accuracy_from_weights.zoo_training.training import train_networks
from accuracy_from_weights.zoo_training.universe_data import UniverseData
from tests.zoo_training.blobs import blobs, build_module

RECIPE = UniverseRecipe(per_task=2, n_train=120, n_test=80, max_steps=60)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ZooStore:
    return build_zoo(tmp_path_factory.mktemp("zoo"), RECIPE, UniverseData(), 6, seed=3)


def test_a_zoo_of_the_universe_says_all_that_it_takes_to_build_it(store: ZooStore) -> None:
    assert store.plan()["data"].keys() == {"name", "version"}
    headers = list(store.headers())
    assert len({header["recipe"]["task"]["universe_seed"] for header in headers}) == 3
    for header in headers:
        recipe = NetworkRecipe.from_dict(header["recipe"])
        settings = header["hyperparameters"]
        assert settings["n_train"] == recipe.task.n_train
        assert settings["n_classes"] == recipe.task.n_classes > 1
        assert settings["input_kind"] == recipe.task.form.kind
        is_short = recipe.regime in ("untrained", "undertrained")
        assert len(header["steps"]) >= (2 if is_short else 5)
        assert header["steps"][0] == 0
        if header["diverged"]:
            continue
        for name in ("test_accuracy", "train_accuracy", "train_loss"):
            assert all(value is not None for value in header["history"][name])
        for name in ("log_accuracy", "log_loss"):
            assert [value is None for value in header["history"][name]][:2] == [True, False]


def test_a_network_is_rebuilt_from_its_file_and_from_its_number(store: ZooStore) -> None:
    network = store.read(4)
    again = rebuild_network(RECIPE, UniverseData(), 4, seed=3)
    (from_file,) = train_networks(
        [NetworkRecipe.from_dict(network.header["recipe"])], UniverseData()
    )
    for name, values in network.weights.items():
        np.testing.assert_allclose(again.weights[name], values, atol=1e-5)
        np.testing.assert_allclose(from_file.checkpoints[-1].weights[name], values[-1], atol=1e-5)


def test_the_training_examples_of_a_stored_network_are_those_it_has_learned(
    store: ZooStore,
) -> None:
    network = store.read(1)
    recipe = NetworkRecipe.from_dict(network.header["recipe"])
    x, y = examples_of(recipe.task, UniverseData())
    module = build_module(recipe).eval()
    module.load_state_dict(
        {name: torch.from_numpy(values) for name, values in network.state_dict(-1).items()},
        strict=False,
    )
    with torch.no_grad():
        accuracy = (module(torch.from_numpy(x)).argmax(1).numpy() == y).mean()
    assert accuracy == pytest.approx(network.header["history"]["train_accuracy"][-1], abs=1e-6)


def test_a_table_holds_answers_on_the_training_examples(store: ZooStore, tmp_path: Path) -> None:
    examples = functools.partial(examples_of, data=UniverseData())
    table = read_zoo(store.folder, probes=True, examples=examples)
    assert table.sample is not None
    assert np.isfinite(table.sample).all(axis=1).mean() > 0.8
    accuracy = table.sample[:, SAMPLE_NAMES.index("accuracy")]
    # All of 120 examples are asked about.
    np.testing.assert_allclose(accuracy, table.train_accuracy, atol=1e-6)
    table.save(tmp_path / "table.npz")
    again = ZooTable.load(tmp_path / "table.npz")
    rows = again.inputs("weights+probes+log+sample")
    assert rows.shape == (len(table), len(feature_names("weights+probes+log+sample")))
    np.testing.assert_array_equal(again.sample, table.sample)
    assert concatenate([again, again]).sample.shape == (2 * len(table), len(SAMPLE_NAMES))
    with pytest.raises(ZooError, match="zoo describe --sample"):
        read_zoo(store.folder, probes=True).inputs("weights+probes+log+sample")


def test_a_zoo_is_gone_on_with_in_the_stacks_it_was_begun_with(tmp_path: Path) -> None:
    data = UniverseData()
    stacked = build_zoo(tmp_path, RECIPE, data, 4, at_once=4)
    assert stacked.plan()["recipe"]["per_architecture"] == 4
    assert len({str(header["recipe"]["architecture"]) for header in stacked.headers()}) == 1
    build_zoo(tmp_path, RECIPE, data, 6, at_once=1)
    assert stacked.indices() == list(range(6))


def test_recipes_and_data_of_different_worlds_are_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "zoo"
    with pytest.raises(ZooError, match="'universe' does not suit"):
        build_zoo(folder, RECIPE, blobs(), 1)
    with pytest.raises(ZooError, match="'wild' does not suit"):
        build_zoo(folder, WildRecipe(), UniverseData(), 1)
    assert not folder.exists()


def test_the_papers_networks_are_trained_on_tasks_of_images(tmp_path: Path) -> None:
    recipe = PaperRecipe(epochs=1, checkpoints=(0, 1), n_train=60, n_test=40, per_task=2)
    store = build_zoo(tmp_path, recipe, UniverseData(), 4)
    recipes = [NetworkRecipe.from_dict(header["recipe"]) for header in store.headers()]
    seeds = [recipe.task.universe_seed for recipe in recipes]
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3]
    assert {recipe.task.form.kind for recipe in recipes} == {"image"}
    again = rebuild_network(recipe, UniverseData(), 3)
    for name, values in store.read(3).weights.items():
        np.testing.assert_allclose(again.weights[name], values, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said_and_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="cannot train on the device 'cuda' here"):
        build_zoo(tmp_path / "zoo", RECIPE, UniverseData(), 1, device="cuda")
    assert not (tmp_path / "zoo").exists()


def test_another_version_of_the_universe_is_refused(store: ZooStore) -> None:
    recipe = NetworkRecipe.from_dict(store.read(0).header["recipe"])
    task = dataclasses.replace(recipe.task, universe_version=99)
    with pytest.raises(ZooError, match="version 99"):
        next(train_networks([dataclasses.replace(recipe, task=task)], UniverseData()))


def test_keras_refuses_what_it_cannot_build(store: ZooStore) -> None:
    recipes = [NetworkRecipe.from_dict(header["recipe"]) for header in store.headers()]
    others = [recipe for recipe in recipes if recipe.task.form.kind != "image"]
    with pytest.raises(ZooError, match="Use the backend torch"):
        next(train_networks(others[:1], UniverseData(), backend="keras"))
