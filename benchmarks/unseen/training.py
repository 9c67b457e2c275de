"""Training as users do it: Keras' ``fit``, and a loop of PyTorch; a small file for each run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.io.atomic import replacing
from benchmarks.unseen.data import Data, load_once
from benchmarks.unseen.runs import Run, of_run

_MEASURED = ("accuracy", "loss", "train_accuracy", "train_loss", "log_accuracy", "log_loss")
VALIDATED = "validation_accuracy"
"""Measured of runs that hold examples out for it."""
_LARGEST_SHIFT = 2

_OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop"}

Checkpoint = dict[str, Any]


def train(run: Run, images: Path | None, path: Path) -> None:
    """Train a run's network and keep its checkpoints, with what was measured, in one file.

    Parameters
    ----------
    run : Run
    images : Path or None
        Folder with the files of images, see `data.load`.
    path : Path
        The ``.npz`` file to write.

    Raises
    ------
    LookupError
        When the data is not there.
    """
    whole = load_once(run.data, images)
    data = of_run(run, whole)
    model = _build(run, data)
    checkpoints = (_train_keras if run.framework == "keras" else _train_torch)(run, data, model)
    arrays: dict[str, NDArray[Any]] = {"steps": np.array([c["step"] for c in checkpoints])}
    for name in _MEASURED if data.x_validation is None else (*_MEASURED, VALIDATED):
        arrays[name] = np.array([c[name] for c in checkpoints], np.float64)
    for k, checkpoint in enumerate(checkpoints):
        for j, weights in enumerate(checkpoint["weights"]):
            arrays[f"{k}/{j}"] = weights
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _build(run: Run, data: Data):
    """Return the run's network, with the weights that it starts from."""
    outputs = 1 if run.is_binary else data.n_classes
    shape = tuple(int(length) for length in data.x_train.shape[1:])
    _, _, name = run.network.partition("/")
    if run.framework == "keras":
        import keras

        from benchmarks.unseen import keras_networks

        keras.utils.set_random_seed(run.seed)
        return keras_networks.NETWORKS[name](shape, outputs, data.vocabulary)
    import torch

    from benchmarks.unseen import torch_networks

    torch.manual_seed(run.seed)
    if run.configuration is not None:
        return torch_networks.Searched(
            data.kind, shape, outputs, data.vocabulary, run.configuration
        )
    return torch_networks.NETWORKS[name](shape, outputs, data.vocabulary)


def models_of(run: Run, data: Data, path: Path):
    """Yield the model of each checkpoint that `train` kept, and what was measured of it.

    Parameters
    ----------
    data : Data
        The run's own, see `runs.of_run`.
    """
    model = _build(run, data)
    with np.load(path) as arrays:
        measured = [name for name in (*_MEASURED, VALIDATED) if name in arrays]
        for k, step in enumerate(arrays["steps"]):
            weights = []
            while (name := f"{k}/{len(weights)}") in arrays:
                weights.append(arrays[name])
            if run.framework == "keras":
                model.set_weights(weights)
            else:
                import torch

                tensors = map(torch.from_numpy, weights)
                model.load_state_dict(dict(zip(model.state_dict(), tensors, strict=True)))
            yield model, {"step": int(step), **{n: float(arrays[n][k]) for n in measured}}


def _train_keras(run: Run, data: Data, model: Any) -> list[Checkpoint]:
    import keras

    loss = "binary_crossentropy" if run.is_binary else "sparse_categorical_crossentropy"
    model.compile(optimizer=run.optimizer, loss=loss, metrics=["accuracy"])
    checkpoints: list[Checkpoint] = []

    class Keeper(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            if epoch + 1 not in run.checkpoints:
                return
            kept: Checkpoint = {"step": epoch + 1, "weights": model.get_weights()}
            for name, x, y in (
                ("", data.x_test, data.y_test),
                ("train_", data.x_train, data.y_train),
            ):
                measured = model.evaluate(x, y, batch_size=256, verbose=0, return_dict=True)
                kept |= {f"{name}{key}": measured[key] for key in ("accuracy", "loss")}
            kept |= {f"log_{key}": (logs or {})[key] for key in ("accuracy", "loss")}
            checkpoints.append(kept)

    model.fit(data.x_train, data.y_train, epochs=run.epochs, callbacks=[Keeper()], verbose=0)
    return checkpoints


def _train_torch(run: Run, data: Data, model: Any) -> list[Checkpoint]:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    test = torch.from_numpy(data.x_test), torch.from_numpy(data.y_test)
    size = 64 if data.kind == "image" else 32
    loader = DataLoader(TensorDataset(x, y), batch_size=size, shuffle=True)
    parameters, rates = model.parameters(), {"sgd": 0.01}
    if run.configuration is not None:
        rates = dict.fromkeys(_OPTIMIZERS, run.configuration.learning_rate)
    settings: dict[str, float] = {"momentum": 0.9} if run.optimizer == "sgd" else {}
    optimizer = getattr(torch.optim, _OPTIMIZERS[run.optimizer])(
        parameters, lr=rates.get(run.optimizer, 0.001), **settings
    )
    if run.is_binary:
        criterion: Any = nn.BCEWithLogitsLoss()
    else:
        criterion = nn.CrossEntropyLoss()

    def judged(inputs: Any, classes: Any) -> tuple[Any, int]:
        answers = model(inputs)
        if run.is_binary:
            loss = criterion(answers[:, 0], classes.float())
            return loss, int(((answers[:, 0] > 0) == classes).sum())
        return criterion(answers, classes), int((answers.argmax(1) == classes).sum())

    def evaluate(inputs: Any, classes: Any) -> tuple[float, float]:
        model.eval()
        right, total = 0, 0.0
        with torch.no_grad():
            for start in range(0, len(inputs), 256):
                batch = slice(start, start + 256)
                loss, n = judged(inputs[batch], classes[batch])
                right, total = right + n, total + float(loss.detach()) * len(classes[batch])
        return right / len(inputs), total / len(inputs)

    checkpoints = []
    for epoch in range(1, run.epochs + 1):
        model.train()
        right, total = 0, 0.0
        for inputs, classes in loader:
            if len(classes) < 2:  # batch normalisation needs two
                continue
            if run.is_augmented:
                inputs = _augmented(inputs)
            optimizer.zero_grad()
            loss, n = judged(inputs, classes)
            loss.backward()
            optimizer.step()
            right, total = right + n, total + float(loss.detach()) * len(classes)
        if epoch in run.checkpoints:
            kept: Checkpoint = {"step": epoch}
            kept["accuracy"], kept["loss"] = evaluate(*test)
            kept["train_accuracy"], kept["train_loss"] = evaluate(x, y)
            if data.x_validation is not None:
                held_out = torch.from_numpy(data.x_validation), torch.from_numpy(data.y_validation)
                kept[VALIDATED], _ = evaluate(*held_out)
            kept["log_accuracy"], kept["log_loss"] = right / len(x), total / len(x)
            state = model.state_dict()
            kept["weights"] = [tensor.numpy().copy() for tensor in state.values()]
            checkpoints.append(kept)
    return checkpoints


def _augmented(images: Any) -> Any:
    """Shift a batch by up to two pixels: RandomCrop with padding, one crop for the batch."""
    import torch
    from torch.nn import functional

    height, width = images.shape[2:]
    padded = functional.pad(images, [_LARGEST_SHIFT] * 4)
    down, right = torch.randint(2 * _LARGEST_SHIFT + 1, (2,)).tolist()
    return padded[:, :, down : down + height, right : right + width]
