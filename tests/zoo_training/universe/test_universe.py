"""The universe of tasks: the same everywhere, of the right form, learnable, of every difficulty.

``python tests/zoo_training/universe/test_universe.py`` stores what seed 11 means; to be run when
the universe's version changes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo_training.universe import (
    UNIVERSE_VERSION,
    TaskData,
    aim_of,
    make_task,
)
from accuracy_from_weights.zoo_training.universe.difficulty import RESPONSES, ease_for
from accuracy_from_weights.zoo_training.universe.task import _KINDS, draw_task
from accuracy_from_weights.zoo_training.universe_data import UniverseData

STORED = Path(__file__).parent / "seed_11.json"
FAMILIES = [(kind, family) for kind, module in _KINDS.items() for family in module.FAMILIES]


def flat(task: TaskData) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that trees can learn from: counts of tokens, values and spectra of the others."""

    def numbers(x: np.ndarray) -> np.ndarray:
        if task.kind == "tokens":
            return np.stack([np.bincount(row, minlength=task.vocabulary) for row in x])
        x = x.astype(np.float64)
        spectrum = np.abs(np.fft.rfft2(x) if x.ndim == 4 else np.fft.rfft(x))
        return np.concatenate([part.reshape(len(x), -1) for part in (x, spectrum)], axis=1)

    return numbers(task.x_train), numbers(task.x_test)


def summary(task: TaskData) -> dict[str, object]:
    """What must never change while the universe's version stays; stored for one seed a family."""
    numbers = task.x_train[:200].astype(np.float64).reshape(-1)
    waves = np.cos(np.arange(len(numbers)) / 7)
    return {
        "labels": crc32(np.concatenate([task.y_train, task.y_test]).astype("<i8").tobytes()),
        "shape": list(task.x_train.shape),
        "means": [round(float(v), 6) for v in (numbers.mean(), numbers.std(), waves @ numbers)],
    }


def accuracy_of_trees(task: TaskData) -> float:
    x_train, x_test = flat(task)
    trees = ExtraTreesClassifier(20, min_samples_leaf=2, random_state=0)
    trees.fit(x_train[:1000], task.y_train[:1000])
    return float((trees.predict(x_test) == task.y_test).mean())


@pytest.mark.parametrize(("kind", "family"), FAMILIES)
def test_every_family_keeps_the_form(kind: str, family: str) -> None:
    seed = 1
    task = draw_task(seed, kind, family=family)
    facts = task.facts
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["universe"], facts["seed"], facts["kind"], facts["family"]) == (
        UNIVERSE_VERSION,
        seed,
        kind,
        family,
    )
    if kind == "image":
        form, dtype = (facts["channels"], facts["size"], facts["size"]), np.uint8
    elif kind == "table":
        form, dtype = (facts["columns"],), np.float32
    elif kind == "tokens":
        form, dtype = (facts["length"],), np.int64
    else:
        form, dtype = (facts["channels"], facts["length"]), np.float32
    for part in ("train", "test"):
        x, y = getattr(task, f"x_{part}"), getattr(task, f"y_{part}")
        assert x.dtype == dtype
        assert x.shape == (facts[f"n_{part}"], *form)
        assert y.dtype == np.int64
        assert y.shape == x.shape[:1]
        assert np.array_equal(np.unique(y), np.arange(task.n_classes))
        assert np.isfinite(x).all()
    assert 450 <= len(task.x_train) <= 6000
    assert len(task.x_test) <= 2000
    assert (task.vocabulary is None) == (kind != "tokens")
    if kind in ("table", "signal"):
        assert abs(task.x_train.mean()) < 0.1
        assert 0.8 < task.x_train.std() < 1.2


@pytest.mark.parametrize(("kind", "family"), FAMILIES)
def test_training_and_test_examples_are_drawn_alike(kind: str, family: str) -> None:
    task = draw_task(5, kind, family=family)
    train, test = flat(task)
    # Means of features differ by no more than chance lets them: z-scores of about unit variance.
    error = np.sqrt(train.var(0) / len(train) + test.var(0) / len(test))
    z = (train.mean(0) - test.mean(0))[error > 1e-6] / error[error > 1e-6]
    assert np.sqrt((z**2).mean()) < 2.0
    shares = [
        np.bincount(y, minlength=task.n_classes) / len(y) for y in (task.y_train, task.y_test)
    ]
    assert np.abs(shares[0] - shares[1]).max() < 0.08


# The order of events is beyond trees on bags of tokens and on single samples.
LEARNED_BY_TREES = [one for one in FAMILIES if one[1] not in ("order", "echoes")]


@pytest.mark.parametrize(("kind", "family"), LEARNED_BY_TREES)
def test_easy_tasks_can_be_learned_and_hard_ones_cannot(kind: str, family: str) -> None:
    # The first seed with few classes and with labels that can be known.
    for seed in range(50):
        easy = draw_task(seed, kind, family=family, ease=1.0)
        if easy.n_classes <= 4 and not easy.facts["unknowable_labels"]:
            break
    hard = draw_task(seed, kind, family=family, ease=0.0)
    often = max(np.bincount(easy.y_test)) / len(easy.y_test)
    gain = accuracy_of_trees(easy) - often
    assert gain > 0.2 * (1 - often)
    assert gain > accuracy_of_trees(hard) - max(np.bincount(hard.y_test)) / len(hard.y_test)


@pytest.mark.parametrize(("kind", "family"), FAMILIES)
def test_a_seed_means_the_same_task_everywhere(kind: str, family: str) -> None:
    task = draw_task(11, kind, family=family)
    expected = json.loads(STORED.read_text(encoding="utf-8"))[family]
    found = summary(task)
    assert found["labels"] == expected["labels"]
    assert found["shape"] == expected["shape"]
    # Rounding may move single values; it moves no mean.
    assert found["means"] == pytest.approx(expected["means"], rel=1e-3, abs=1e-3)


def test_classes_are_as_uneven_as_the_task_says() -> None:
    tasks = [make_task(seed, "table") for seed in range(40)]
    uneven = [float(task.facts["largest_class"]) * task.n_classes for task in tasks]
    assert min(uneven) < 1.2
    assert max(uneven) > 1.5


def test_unknowable_labels_limit_what_can_be_reached() -> None:
    for seed in range(200):
        task = draw_task(seed, "table", family="mixture", ease=1.0)
        if task.n_classes == 2 and float(task.facts["unknowable_labels"]) > 0.3:
            break
    share = np.bincount(task.y_test) / len(task.y_test)
    p = float(task.facts["unknowable_labels"])
    most = 1 - p * (1 - (share**2).sum())
    assert accuracy_of_trees(task) < most + 0.03


def test_without_a_kind_all_kinds_occur_and_are_the_same_as_when_asked_for() -> None:
    tasks = [make_task(seed) for seed in range(24)]
    assert {task.kind for task in tasks} == set(_KINDS)
    again = make_task(7, tasks[7].kind)
    assert np.array_equal(again.x_train, tasks[7].x_train)
    assert again.facts == tasks[7].facts


def test_what_a_task_aims_at_is_known_without_making_it() -> None:
    for seed, kind in ((3, None), (4, "table"), (5, None), (6, "tokens")):
        assert make_task(seed, kind).facts["aim"] == round(aim_of(seed, kind), 4)


def test_tasks_that_aim_low_are_passed_over() -> None:
    aims = [aim_of(seed) for seed in range(21, 27)]
    wanted = next(i for i, aim in enumerate(aims) if aim >= 0.6)
    assert wanted > 0  # or the seeds show nothing
    assert UniverseData().facts(21, least_aim=0.6).universe_seed == 21 + wanted
    assert UniverseData().facts(21).universe_seed == 21


def test_numbers_of_classes_reach_from_two_to_a_hundred() -> None:
    found = {make_task(seed, "table").n_classes for seed in range(150)}
    assert {2, 3, 10} <= found
    assert max(found) >= 50


@pytest.mark.parametrize(("seed", "kind"), [(-1, None), (0, "video")])
def test_what_does_not_exist_is_refused(seed: int, kind: str | None) -> None:
    with pytest.raises(ZooError, match="choose one"):
        make_task(seed, kind)


def test_every_family_is_calibrated() -> None:
    assert set(RESPONSES) == {family for _, family in FAMILIES}
    for family in RESPONSES:
        eases = [ease_for(family, aim, 10, 2000) for aim in (0.05, 0.5, 0.95)]
        assert eases == sorted(eases)
        assert eases[0] < eases[2]


def test_no_framework_is_imported() -> None:
    code = (
        "import sys, accuracy_from_weights.zoo_training.universe as u; u.make_task(0, 'image'); "
        "print([m for m in ('torch', 'keras', 'jax', 'tensorflow', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


if __name__ == "__main__":
    found = {family: summary(draw_task(11, kind, family=family)) for kind, family in FAMILIES}
    STORED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
