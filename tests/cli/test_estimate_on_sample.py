"""``estimate --sample``: Keras files are run on training examples."""

from __future__ import annotations

import json
import sys

import keras
import numpy as np
import pytest

from accuracy_from_weights import load_predictor
from accuracy_from_weights.errors import UnreadableFileError, UnsupportedModelError
from tests.cli.conftest import save_network


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """A file of examples that a small network can learn."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300)
    x = (rng.normal(size=(300, 8)) + 2 * np.eye(3, 8)[y]).astype("float32")
    path = tmp_path_factory.mktemp("examples") / "train.npz"
    np.savez(path, x=x, y=y)
    return path


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, examples):
    """A folder of a network before and after its training."""
    folder = tmp_path_factory.mktemp("checkpoints")
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, "relu"), keras.layers.Dense(3, "softmax")]
    model = keras.Sequential([keras.Input((8,)), *layers])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(folder / "before.keras")
    with np.load(examples) as data:
        model.fit(data["x"], data["y"], epochs=15, verbose=0)
    model.save(folder / "later.keras")
    return folder


def test_the_trained_checkpoint_comes_first_and_python_says_the_same(cli, checkpoints, examples):
    result = cli("estimate", checkpoints, "--sample", examples, "--sort", "--json")
    best, worst = json.loads(result.out)
    assert [best["file"], worst["file"]] == [
        str(checkpoints / name) for name in ("later.keras", "before.keras")
    ]
    assert best["low"] > worst["accuracy"]
    predictor = load_predictor(features="weights+probes+log+sample")
    with np.load(examples) as data:
        sample = data["x"], data["y"]
    in_python = predictor.estimate(
        keras.models.load_model(best["file"]), log={"samples": 300}, sample=sample
    )
    assert in_python.accuracy == pytest.approx(best["accuracy"], abs=1e-6)
    from_file = predictor.estimate(best["file"], log={"samples": 300}, sample=sample)
    assert from_file.accuracy == pytest.approx(best["accuracy"], abs=1e-6)


def test_names_of_a_keras_data_set_will_do(cli, checkpoints, examples, tmp_path):
    with np.load(examples) as data:
        np.savez(tmp_path / "named.npz", x_train=data["x"], y_train=data["y"], x_test=data["x"][:2])
    files = checkpoints / "later.keras", "--json", "--sample"
    assert (
        cli("estimate", *files, tmp_path / "named.npz").out == cli("estimate", *files, examples).out
    )


def test_a_file_of_weights_is_refused_and_the_others_are_estimated(
    cli, checkpoints, examples, tmp_path
):
    weights = save_network(tmp_path / "network.npz")
    result = cli("estimate", weights, checkpoints / "later.keras", "--sample", examples, "--json")
    refused, estimated = json.loads(result.out)
    assert "no network that can be run" in refused["error"]
    assert 0 < estimated["accuracy"] < 1
    assert result.code == 1


def test_what_all_files_need_is_said_once(cli, checkpoints, examples, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    result = cli("estimate", checkpoints, "--sample", examples)
    assert result.code == 1
    assert result.err.count("accuracy-from-weights[keras]") == 1
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"nothing", "is not a complete .npz file"), ({"a": np.ones(3)}, "holds no arrays x and y")],
)
def test_what_holds_no_examples_is_refused_in_one_sentence(
    cli, checkpoints, tmp_path, content, says
):
    path = tmp_path / "bad.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    result = cli("estimate", checkpoints, "--sample", path)
    assert result.code in (1, 4)
    assert says in result.err
    assert result.out == ""


def test_a_predictor_that_reads_no_sample_is_refused(cli, checkpoints, examples, tmp_path):
    for features, options, says in (
        ("weights", ("--sample", examples), "leave --sample out"),
        ("weights+probes+log+sample", (), "pass --sample"),
        ("weights+probes", (), "use it in Python"),
    ):
        path = tmp_path / "some.predictor"
        load_predictor(features=features).save(path)
        result = cli("estimate", checkpoints, "--predictor", path, *options)
        assert result.code == 1
        assert says in result.err


def test_code_in_a_file_does_not_run(tmp_path, examples):
    layers = [keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), *layers])
    model.save(tmp_path / "code.keras")
    predictor = load_predictor(features="weights+probes")
    with pytest.raises(UnreadableFileError, match="Keras cannot load"):
        predictor.estimate(tmp_path / "code.keras")
    with pytest.raises(UnsupportedModelError, match="no network that can be run"):
        predictor.estimate(save_network(tmp_path / "network.npz"))
