"""Every code block of the documentation runs, or says why it cannot."""

from __future__ import annotations

import re
import shlex
import shutil
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

from accuracy_from_weights import load_predictor, read_weights, stopping
from accuracy_from_weights.callbacks.keras import AccuracyFromWeights
from accuracy_from_weights.callbacks.torch import Monitor
from accuracy_from_weights.cli import main
from accuracy_from_weights.errors import AccuracyFromWeightsWarning
from accuracy_from_weights.features.description import FEATURE_NAMES
from accuracy_from_weights.zoo.recipes.recipe_files import load_recipe
from accuracy_from_weights.zoo.table import ZooTable
from tests.docs.page_blocks import PAGES, ROOT, Block, blocks_of
from tests.synthetic import learnable_zoo

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
HERE = [b for b in BLOCKS if b.language in ("python", "bash", "toml") and not b.elsewhere]
# Sizes that would take long, and what the test writes in their place.
DONE: list[list[str]] = []
SHORTER = {
    "--networks 500": "--networks 3",
    "--networks 2000": "--networks 3",
    "2000, n_jobs=-1": "3, n_jobs=1",
    "--jobs -1": "--jobs 1",
    "--report report.html": "--report report.html --folds 2",
}
NOT_RUN = {
    "README.md": 1,
    "federated.md": 1,
    "index.md": 1,
    "pytorch.md": 1,
    "retraining.md": 1,
    "search.md": 1,
    "stopping.md": 2,
    "study.md": 2,
    "trackers.md": 2,
    "unseen.md": 2,
}


def classifier(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(72, 10),
    )


def keras_classifier() -> keras.Model:
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


LOG = {
    "epoch": [0, 1],
    "accuracy_from_weights": [0.4, 0.6],
    "accuracy_from_weights_low": [0.3, 0.5],
    "accuracy_from_weights_high": [0.5, 0.7],
    "accuracy_from_weights_in_family": [1, 1],
    "val_acc": [0.5, 0.6],
}


def zoo_of(n_runs: int) -> ZooTable:
    """Return networks of two data sets, one checkpoint a run."""
    features, accuracies, runs = learnable_zoo(n_runs, 1)
    unknown = np.full(n_runs, np.nan)
    return ZooTable(
        features=features.astype(np.float32),
        feature_names=FEATURE_NAMES,
        paper_statistics=np.full((n_runs, 56), np.nan, np.float32),
        runs=runs,
        datasets=np.where(np.arange(n_runs) % 2, "one", "two"),
        steps=np.zeros(n_runs),
        accuracy=accuracies,
        loss=unknown,
        train_accuracy=unknown,
        train_loss=unknown,
        hyperparameters={},
        fingerprint="0" * 64,
        log_accuracy=unknown,
        log_loss=unknown,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that the pages name."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("files")
    for seed, name in enumerate(("run1/epoch3", "run1/epoch9", "run2/epoch9", "model")):
        (folder / name).parent.mkdir(exist_ok=True)
        torch.save(classifier(seed).state_dict(), folder / f"{name}.pt")
    twins = {"student": classifier(1).state_dict(), "teacher": classifier(2).state_dict()}
    torch.save(twins, folder / "both.pt")
    save_file(classifier().state_dict(), folder / "model.safetensors")
    average = {f"model_ema.{name}": value for name, value in classifier().state_dict().items()}
    save_file(average, folder / "both.safetensors")
    (folder / "runs.csv").write_text(
        next(b.code for b in blocks_of("retraining.md") if b.code.startswith("file,run")),
        encoding="utf-8",
    )
    (folder / "my-zoo").mkdir()
    zoo_of(30).save(folder / "my-zoo" / "table.npz")
    for name in ("lightning_logs/version_0", "runs/one", "runs/two"):
        (folder / name).mkdir(parents=True)
        lines = [",".join(map(str, row)) for row in (LOG, *zip(*LOG.values(), strict=True))]
        (folder / name / "metrics.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    generator = np.random.default_rng(0)
    images = {
        f"x_{part}": generator.integers(0, 256, (n, 8, 8), np.uint8)
        for part, n in (("train", 200), ("test", 100))
    }
    labels = {f"y_{part[2:]}": generator.integers(0, 10, len(x)) for part, x in images.items()}
    np.savez(folder / "mine.npz", **images, **labels)
    zoo = zoo_of(12)
    known = load_predictor().retrain(zoo.features, zoo.accuracy, groups=zoo.runs)
    known.save(folder / "my.predictor")
    return folder


def what_a_reader_has(page: str) -> dict[str, Any]:
    """Return the names that a page takes for granted."""
    twins = {
        name: classifier(seed).state_dict() for seed, name in enumerate(("student", "teacher"))
    }
    return {
        **vars(stopping),
        "AccuracyFromWeights": AccuracyFromWeights,
        "Monitor": Monitor,
        "load_predictor": load_predictor,
        "read_weights": read_weights,
        "predictor": load_predictor(),
        "model": keras_classifier() if page in ("index.md", "pictures.md") else classifier(),
        "monitor": Monitor(),
        "Path": Path,
        **dict.fromkeys(("first", "second", "third"), LOG),
        "make_model": lambda config: classifier(config),
        "train_one_epoch": lambda model: model[0].weight.data.mul_(1.1),
        "checkpoint": twins,
        "configs": [0, 1],
        "epochs": 2,
        "x": np.ones((4, 8), np.float32),
        "y": np.zeros(4),
        "x_val": np.ones((4, 8), np.float32),
        "y_val": np.zeros(4),
    }


def run_shell(code: str) -> None:
    """Run each line as the command line would, in this process, unless another page has it too."""
    for line in code.replace("\\\n", " ").splitlines():
        command, *arguments = shlex.split(line, comments=True)
        assert command == "accuracy-from-weights", line
        if arguments in DONE:
            continue
        DONE.append(arguments)
        if arguments[:2] == ["zoo", "build"]:
            shutil.rmtree(arguments[arguments.index("--output") + 1])
        main(arguments, standalone_mode=False)


@pytest.mark.parametrize("page", dict.fromkeys(b.page for b in HERE if not b.reason))
def test_the_blocks_of_a_page_run_in_their_order(page, files, tmp_path, monkeypatch):
    names = what_a_reader_has(page)
    for number, block in enumerate(blocks_of(page)):
        if block not in HERE or block.reason or is_run_by_test_readme(block):
            continue
        folder = tmp_path / str(number)
        shutil.copytree(files, folder)
        monkeypatch.chdir(folder)
        code = block.code
        for long, short in SHORTER.items():
            code = code.replace(long, short)
        with warnings.catch_warnings():
            # Whether such tiny networks are inside the family is for the predictor to say.
            warnings.simplefilter("ignore", AccuracyFromWeightsWarning)
            if block.language == "python":
                exec(code, names)
            elif block.language == "bash":
                run_shell(code)
            else:
                Path("recipe.toml").write_text(code, encoding="utf-8")
                load_recipe("recipe.toml")


def is_run_by_test_readme(block: Block) -> bool:
    return block.page == "README.md" and block.language == "python"


def test_what_is_not_run_is_counted_and_says_why():
    counted: dict[str, int] = {}
    for block in BLOCKS:
        if block.reason:
            counted[block.page] = counted.get(block.page, 0) + 1
    assert counted == NOT_RUN


def test_what_another_test_runs_is_run_there():
    for block in BLOCKS:
        if block.elsewhere:
            text = (ROOT / block.elsewhere).read_text(encoding="utf-8")
            assert block.elsewhere == ".ci/run" or block.page in text, block


def test_no_block_is_overlooked():
    for page, path in PAGES.items():
        fences = re.findall(r"^```", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert len(fences) == 2 * len(blocks_of(page)), page
