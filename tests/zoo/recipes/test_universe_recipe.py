from __future__ import annotations

import collections
import json

import numpy as np
import pytest

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import InputForm
from accuracy_from_weights.zoo.recipes.costs import seconds_of_example, seconds_of_step
from accuracy_from_weights.zoo.recipes.data_facts import DataFacts
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.recipes.universe import UniverseRecipe, dataset_name

FORMS = {
    "image": [InputForm("image", (c, s, s)) for c in (1, 3) for s in (8, 12, 16, 28)],
    "table": [InputForm("table", (n,)) for n in (4, 30)],
    "tokens": [InputForm("tokens", (n,), vocabulary=20 * n) for n in (8, 40)],
    "signal": [InputForm("signal", (c, n)) for c in (1, 3) for n in (24, 100)],
}


def facts(seed: int, kind: str | None = None, least_aim: float = 0.0) -> DataFacts:
    """What is known of a made-up task."""
    rng = np.random.default_rng(seed)
    kind = kind or str(rng.choice(list(FORMS)))
    form = FORMS[kind][rng.integers(len(FORMS[kind]))]
    n_train = int(rng.integers(500, 6000))
    return DataFacts(dataset_name(seed), form, int(rng.integers(2, 21)), n_train, 1500, seed, 1)


@pytest.fixture(scope="module")
def drawn() -> list[NetworkRecipe]:
    return [UniverseRecipe().draw(index, 0, facts) for index in range(1200)]


def test_a_draw_depends_on_seed_and_index_alone_and_survives_json(
    drawn: list[NetworkRecipe],
) -> None:
    recipe = UniverseRecipe()
    for index in (0, 7, 500):
        assert recipe.draw(index, 0, facts) == drawn[index]
        assert recipe.draw(index, 1, facts) != drawn[index]
        values = json.loads(json.dumps(drawn[index].to_dict()))
        assert NetworkRecipe.from_dict(values) == drawn[index]
    assert UniverseRecipe.from_dict(recipe.to_dict()) == recipe


def test_every_fourth_network_gets_a_new_task(drawn: list[NetworkRecipe]) -> None:
    seeds = [recipe.task.universe_seed for recipe in drawn]
    assert len(set(seeds)) == 300
    assert all(len(set(seeds[i : i + 4])) == 1 for i in range(0, 1200, 4))
    for recipe in drawn[:40]:
        assert recipe.task.universe_seed is not None
        known = facts(recipe.task.universe_seed)
        assert recipe.task.dataset == known.name
        assert (recipe.task.form, recipe.task.n_classes) == (known.form, known.n_classes)


def test_all_kinds_of_networks_and_regimes_are_drawn(drawn: list[NetworkRecipe]) -> None:
    kinds = collections.defaultdict(set)
    for recipe in drawn:
        kinds[recipe.task.form.kind].add(recipe.architecture.kind)
    assert kinds == {
        "image": {"cnn", "resnet", "separable", "mlp", "vit"},
        "table": {"mlp"},
        "tokens": {"mlp", "cnn", "lstm", "gru", "vit"},
        "signal": {"cnn", "resnet", "lstm", "gru", "mlp"},
    }
    a = [recipe.architecture for recipe in drawn]
    assert {x.activation_first for x in a} == {x.bias for x in a} == {True, False}
    assert {x.momentum for x in a} == {0.01, 0.05, 0.1}
    assert {x.head for x in a} == {"average", "max", "flatten", "last"}
    assert max(len(x.widths) for x in a if x.kind == "resnet") == 11
    assert any(x.dense for x in a)
    initialisers = {recipe.initialiser for recipe in drawn}
    assert initialisers >= {"keras_default", "torch_default", "he_normal", "orthogonal"}
    regimes = collections.Counter(recipe.regime for recipe in drawn)
    expected = {"overfitted": 0.34, "undertrained": 0.07, "untrained": 0.04, "unstable": 0.06}
    for regime, share in expected.items():
        assert regimes[regime] / len(drawn) == pytest.approx(share, abs=0.03)
    assert regimes["good"] / len(drawn) == pytest.approx(0.49, abs=0.05)


def test_networks_cost_what_the_budget_allows(drawn: list[NetworkRecipe]) -> None:
    recipe = UniverseRecipe()
    long = [r for r in drawn if r.regime in ("good", "overfitted", "unstable")]
    for network in long:
        a, task = network.architecture, network.task
        steps = network.checkpoint_steps(task.n_train)[-1]
        assert len(network.checkpoint_steps(task.n_train)) >= 5
        assert 60 <= steps <= recipe.max_steps
        cost = steps * seconds_of_step(a, task.form, task.n_classes, network.batch_size)
        cost += 9 * recipe.n_test * seconds_of_example(a, task.form, task.n_classes)
        assert steps <= 200 or cost < 1.05 * recipe.budget
        network.check_fits(facts(task.universe_seed))
    good = [r for r in long if r.regime == "good"]
    assert np.median([r.checkpoint_steps(r.task.n_train)[-1] for r in good]) > 250


def test_recipes_that_fill_a_stack_share_architecture_batch_and_steps() -> None:
    recipe = UniverseRecipe(per_architecture=16)
    drawn = [recipe.draw(index, 0, facts) for index in range(160)]
    for start in range(0, 160, 16):
        block = drawn[start : start + 16]
        assert len({r.architecture for r in block}) == 1
        assert len({r.checkpoint_steps(r.task.n_train) for r in block}) == 1
        assert len({r.batch_of(r.task.n_train) for r in block}) == 1
        assert len({r.task.form.kind for r in block}) == 1
        assert len({r.task.universe_seed for r in block}) == 4
        assert len({r.learning_rate for r in block}) == 16
        if block[0].task.form.kind != "table":
            assert len({r.task.form.shape for r in block}) == 1
    assert len({r.architecture for r in drawn}) == 10


@pytest.mark.parametrize(
    "values",
    [
        {"share_overfitted": 0.9, "share_unstable": 0.2},
        {"per_task": 0},
        {"budget": -1.0},
        {"least_aim": 1.0},
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ZooError, match=r"shares|positive|least_aim"):
        UniverseRecipe(**values)
