"""Sound files of every kind that the package reads, to be damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from accuracy_from_weights import load_predictor
from accuracy_from_weights.features.description import describe
from accuracy_from_weights.weights import read_weights
from accuracy_from_weights.zoo.checkpoints import read_checkpoints
from accuracy_from_weights.zoo.exchange import export_zoo
from accuracy_from_weights.zoo.network_file import StoredNetwork
from accuracy_from_weights.zoo.reading import read_zoo
from accuracy_from_weights.zoo.recipes.architecture import InputForm
from accuracy_from_weights.zoo.recipes.data_facts import DataFacts
from accuracy_from_weights.zoo.recipes.recipe_files import FAMILIES, load_recipe
from accuracy_from_weights.zoo.store import PLAN_FILE, ZooStore
from accuracy_from_weights.zoo_training.datasets import load_images
from accuracy_from_weights.zoo_training.universe_data import UniverseData
from tests.weights.files.fuzzing import Target, inside_archive, inside_gzip
from tests.zoo.recipes.writing import as_toml

PREDICTOR = Path(__file__).parents[2] / "data" / "predictors" / "small.predictor"
FACTS = DataFacts("noise", InputForm("image", (1, 16, 16)), n_classes=10, n_train=900, n_test=100)
IDX_STEMS = ("train-images", "train-labels", "t10k-images", "t10k-labels")


def targets(folder: Path) -> dict[str, Target]:
    """Every kind of file that the package reads, by name."""
    found = {"predictor": predictor_file(folder)}
    found |= array_files(folder)
    found |= framework_files(folder)
    found |= zoo_files(folder)
    found |= source_files(folder)
    archives = {
        f"{name}, inside": replace(target, damage=inside_archive)
        for name, target in found.items()
        if target.content.startswith(b"PK")
    }
    metrics = found["zoo/metrics.csv.gz"]
    return found | archives | {"zoo/metrics.csv": replace(metrics, damage=inside_gzip)}


def predictor_file(folder: Path) -> Target:
    path = folder / "fuzzed.predictor"

    def use() -> None:
        predictor = load_predictor(path)
        predictor.judge(np.zeros((2, predictor.n_features_in_), np.float32))

    return Target(PREDICTOR.read_bytes(), path, use)


def state_dict() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    shapes = {"conv.weight": (4, 1, 3, 3), "conv.bias": (4,), "fc.weight": (3, 4), "fc.bias": (3,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def array_files(folder: Path) -> dict[str, Target]:
    """Checkpoints that no framework has to write."""
    from safetensors.numpy import save_file

    state = state_dict()
    return _checkpoints(
        folder,
        {
            ".npz": lambda path: np.savez(path, **state),
            ".safetensors": lambda path: save_file(state, path),
        },
    )


def framework_files(folder: Path) -> dict[str, Target]:
    """Checkpoints as PyTorch, Lightning and Keras write them."""
    import keras
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in state_dict().items()}
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(4, 3)])
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(3))
    return _checkpoints(
        folder,
        {
            ".pt": lambda path: torch.save(tensors, path),
            ".ckpt": lambda path: torch.save(
                {"state_dict": tensors, "epoch": 1}, path, _use_new_zipfile_serialization=False
            ),
            ".keras": model.save,
            ".weights.h5": model.save_weights,
        },
    )


def _checkpoints(folder: Path, writers: dict[str, Callable[[Path], object]]) -> dict[str, Target]:
    found = {}
    for extension, write in writers.items():
        path = folder / f"fuzzed{extension}"
        write(path)

        def use(path: Path = path) -> object:
            return describe(read_weights(path))

        found[f"checkpoint{extension}"] = Target(path.read_bytes(), path, use)
    return found


def zoo_files(folder: Path) -> dict[str, Target]:
    store = ZooStore(folder / "store")
    with store.writing() as writer:
        writer.begin({"recipe": {"family": "paper"}, "data": {"name": "noise"}, "seed": 0})
        for index in range(3):
            writer.add(_network(index))
    published = folder / "published"
    export_zoo(store.folder, published)
    read_zoo(store.folder).save(folder / "table.npz")
    found = {}
    for path, source in (
        (store.path(1), store.folder),
        (store.folder / PLAN_FILE, store.folder),
        (published / "weights.npy", published),
        (published / "metrics.csv.gz", published),
        (published / "layout.csv", published),
        (folder / "table.npz", folder / "table.npz"),
    ):

        def use(source: Path = source) -> object:
            table = read_zoo(source)
            return table.inputs(), table.domains

        name = "network.npz" if path.parent.name == "networks" else path.name
        found[f"zoo/{name}"] = Target(path.read_bytes(), path, use)
    return found


def source_files(folder: Path) -> dict[str, Target]:
    """What zoos are made from: images, recipes, a list of checkpoints."""
    (folder / "sources").mkdir()
    arrays = {"x_train": np.zeros((4, 5, 5), np.uint8), "y_train": np.arange(4, dtype=np.uint8)}
    arrays |= {name.replace("train", "test"): array for name, array in arrays.items()}
    images = folder / "sources" / "images.npz"
    np.savez(images, **arrays)
    idx = folder / "sources" / "idx"
    idx.mkdir()
    for stem, array in zip(IDX_STEMS, arrays.values(), strict=True):
        head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (idx / f"{stem}-idx{array.ndim}-ubyte").write_bytes(head + array.tobytes())
    readers: dict[Path, Callable[[], object]] = {
        images: lambda: load_images(images, size=4),
        idx / "train-images-idx3-ubyte": lambda: load_images(idx, size=4),
    }
    for family in FAMILIES:
        recipe = folder / "sources" / f"{family}.toml"
        recipe.write_text(as_toml(load_recipe(family)), encoding="utf-8")

        facts = UniverseData().facts if family == "universe" else FACTS

        def draw(recipe: Path = recipe, facts: Any = facts) -> object:
            distribution = load_recipe(recipe)
            return [distribution.draw(i, 0, facts) for i in range(5)]

        readers[recipe] = draw
    listed = folder / "sources" / "checkpoints.csv"
    np.savez(folder / "sources" / "listed.npz", **state_dict())
    listed.write_text(
        "file,run,accuracy,step,learning_rate\nlisted.npz,one,0.5,1,0.1\nlisted.npz,two,0.25,2,\n"
    )
    readers[listed] = lambda: read_checkpoints(listed).inputs()
    return {
        f"source/{path.name}": Target(path.read_bytes(), path, r) for path, r in readers.items()
    }


def _network(index: int) -> StoredNetwork:
    rng = np.random.default_rng(index)
    steps = [0.0, 1.0]
    curve = [0.1, 0.5]
    history = dict.fromkeys(
        ("test_accuracy", "test_loss", "train_accuracy", "train_loss", "log_accuracy", "log_loss"),
        curve,
    )
    header = {
        "index": index,
        "recipe": {"family": "paper"},
        "hyperparameters": {"dataset": "noise", "learning_rate": 0.1, "activation": "relu"},
        "steps": steps,
        "history": history,
        "diverged": False,
        "seconds": 1.0,
        "made_by": {},
        "versions": {},
    }
    weights = {name: rng.normal(size=(2, *a.shape)) for name, a in state_dict().items()}
    return StoredNetwork(header, {name: a.astype(np.float32) for name, a in weights.items()})
