from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import (
    Architecture,
    InputForm,
    paper_architecture,
)
from accuracy_from_weights.zoo.recipes.costs import multiplications
from accuracy_from_weights.zoo.recipes.data_facts import DataFacts
from accuracy_from_weights.zoo.recipes.paper import PaperRecipe
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.recipes.wild import REGIMES, WildRecipe

FACTS = DataFacts(
    "mnist", InputForm("image", (1, 28, 28)), n_classes=10, n_train=60_000, n_test=10_000
)
DIGITS = DataFacts("digits", InputForm("image", (1, 8, 8)), n_classes=10, n_train=1_400, n_test=397)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([PaperRecipe(), WildRecipe()]),
    st.sampled_from([FACTS, DIGITS]),
    st.integers(0, 10**6),
    st.integers(0, 2**31),
)
def test_a_draw_depends_on_seed_and_index_alone_and_survives_json(recipe, facts, index, seed):
    drawn = recipe.draw(index, seed, facts)
    recipe.draw(index + 1, seed, facts)
    assert recipe.draw(index, seed, facts) == drawn
    assert recipe.draw(index, seed + 1, facts) != drawn
    assert NetworkRecipe.from_dict(json.loads(json.dumps(drawn.to_dict()))) == drawn
    assert type(recipe).from_dict(recipe.to_dict()) == recipe
    drawn.check_fits(facts)


def test_the_paper_recipe_draws_the_paper_s_distribution():
    drawn = [PaperRecipe().draw(i, 3, FACTS) for i in range(3000)]

    def quantiles(values):
        return np.quantile(values, [0.0, 0.25, 0.5, 0.75, 1.0])

    for values, low, high in (
        ([np.log(r.learning_rate) for r in drawn], np.log(5e-4), np.log(5e-2)),
        ([np.log(r.l2) for r in drawn], np.log(1e-8), np.log(1e-2)),
        ([r.dropout for r in drawn], 0.0, 0.7),
        ([np.log(r.init_std) for r in drawn], np.log(1e-3), np.log(0.5)),
    ):
        np.testing.assert_allclose(
            (quantiles(values) - low) / (high - low), [0, 0.25, 0.5, 0.75, 1], atol=0.04
        )
    for values, choices in (
        ([r.optimizer for r in drawn], {"sgd", "adam", "rmsprop"}),
        ([r.architecture.activation for r in drawn], {"relu", "tanh"}),
        ([r.task.n_train for r in drawn], {1000, 2500, 5000, 10_000}),
        (
            [r.initialiser for r in drawn],
            {"glorot_normal", "he_normal", "orthogonal", "RandomNormal", "TruncatedNormal"},
        ),
    ):
        names, counts = np.unique(values, return_counts=True)
        assert set(names.tolist()) == choices
        np.testing.assert_allclose(counts / len(drawn), 1 / len(choices), atol=0.04)
    one = drawn[0]
    assert one.architecture == paper_architecture(one.architecture.activation)
    assert one.architecture.sizes(28) == (13, 6, 2)
    assert (one.batch_size, one.epochs, one.task.n_test) == (128, 18, 5000)
    assert one.checkpoints == (0, 1, 2, 3, 6, 10, 14, 18)
    assert len({r.seed for r in drawn}) == len({r.task.data_seed for r in drawn}) == len(drawn)


def test_on_a_small_data_set_the_paper_recipe_keeps_the_steps_of_an_epoch():
    drawn = PaperRecipe().draw(0, 0, DIGITS)
    assert drawn.task.pool == 1400
    assert drawn.batch_size == 18
    assert 1400 // drawn.batch_size == pytest.approx(10_000 // 128, abs=1)
    # Images of 8 pixels are too small for three valid convolutions of stride 2.
    assert drawn.task.form.shape == (1, 16, 16)
    assert drawn.task.n_test == 397


def test_wild_recipes_cover_all_kinds_within_their_bounds():
    wild = WildRecipe()
    drawn = [wild.draw(i, 0, FACTS) for i in range(1500)]
    seen = {
        name: {getattr(r.architecture, name) for r in drawn}
        for name in ("kind", "activation", "normalisation", "padding", "pooling", "head")
    }
    assert {name: len(values) for name, values in seen.items()} == {
        "kind": 5,
        "activation": 4,
        "normalisation": 4,
        "padding": 2,
        "pooling": 3,
        "head": 2,
    }
    assert {len(r.architecture.widths) for r in drawn} == set(range(1, 9))
    widths = {width for r in drawn for width in r.architecture.widths}
    assert min(widths) == 8
    assert max(widths) == 128
    assert {max(r.task.label_map) + 1 for r in drawn} == set(range(2, 21))
    assert {r.task.form.channels for r in drawn} == {1, 3}
    assert {r.schedule for r in drawn} == {"constant", "cosine", "steps"}
    assert any(r.task.label_noise > 0.2 for r in drawn)
    assert any(r.weight_decay > 0 for r in drawn)
    assert {len(r.checkpoints) for r in drawn} == {7}
    for name in REGIMES:
        share = np.mean([r.regime == name for r in drawn])
        assert share == pytest.approx(wild.shares[name], abs=0.04)
    for recipe in drawn:
        n_train = recipe.task.n_train
        images = recipe.checkpoint_steps(n_train)[-1] * recipe.batch_of(n_train)
        cost = multiplications(recipe.architecture, recipe.task.form, recipe.task.n_classes)
        assert 3 * images * cost <= 1.1 * max(wild.budget, 3 * 20 * recipe.batch_size * cost)


def test_checkpoints_and_schedules_in_steps():
    recipe = PaperRecipe(epochs=4, checkpoints=(0, 1, 4), batch_size=32).draw(0, 0, FACTS)
    assert recipe.checkpoint_steps(100) == (0, 3, 12)
    assert recipe.batch_of(20) == 20
    rate = recipe.learning_rate
    assert recipe.learning_rates(3).tolist() == [rate] * 3
    steps = dataclasses.replace(recipe, schedule="steps").learning_rates(8)
    np.testing.assert_allclose(steps, [rate] * 4 + [rate / 10] * 2 + [rate / 100] * 2)
    cosine = dataclasses.replace(recipe, schedule="cosine").learning_rates(4)
    np.testing.assert_allclose(cosine[[0, 2]], [rate, rate / 2])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": "lion"}, "optimizer"),
        ({"dropout": 1.0}, "dropout"),
        ({"checkpoints": [3, 1]}, "checkpoints"),
        ({"checkpoints": [0, 99]}, "checkpoints"),
        ({"colour": "red"}, "colour"),
        ({"task": {"dataset": "mnist", "form": {"kind": "table", "shape": [3]}}}, "n_train"),
        ({"architecture": {"kind": "rnn"}}, "kind"),
    ],
)
def test_a_recipe_with_a_wrong_value_says_which(change, words):
    values = {**PaperRecipe().draw(0, 0, FACTS).to_dict(), **change}
    with pytest.raises(ZooError, match=words):
        NetworkRecipe.from_dict(values)


def test_an_architecture_too_large_for_the_images_is_refused():
    with pytest.raises(ZooError, match="block 3"):
        Architecture(strides=(2, 2, 2)).sizes(8)
    with pytest.raises(ZooError, match="'mnist'"):
        PaperRecipe().draw(0, 0, FACTS).check_fits(DIGITS)
