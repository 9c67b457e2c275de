"""Folders of weights: which file holds the network."""

from __future__ import annotations

import os
import re

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights.files.errors import unreadable

_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "task.weights.h5",
    "model.weights.h5",
    "model.weights.json",
)
"""Where transformers, Keras and KerasHub keep a network, in the order in which they look. KerasHub
keeps a classifier as ``task``, and the network below its head as ``model``."""

_OTHERS = (
    ("model_index.json", "it is a folder of several networks (diffusers); give one of its folders"),
    ("zero_to_fp32.py", "it is a checkpoint of DeepSpeed in pieces; run its zero_to_fp32.py first"),
    (".metadata", "it is a distributed checkpoint of PyTorch; make one file of it first "
     "(python -m torch.distributed.checkpoint.format_utils dcp_to_torch)"),
    ("saved_model.pb", "it is a SavedModel of TensorFlow; save the Keras model as .keras"),
    ("_CHECKPOINT_METADATA", "it is a checkpoint of Orbax; restore it, and pass the parameters"),
    ("_METADATA", "it is a checkpoint of Orbax; restore it, and pass the parameters"),
    ("checkpoint", "it is a checkpoint of TensorFlow; load it, and save the model as .keras"),
    ("MLmodel", "it is a model of MLflow; give the file of weights in its folder data"),
)  # fmt: skip


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder that stands for one network, readable or not."""
    names = os.listdir(path) if os.path.isdir(path) else []
    known = {*_WEIGHTS, "adapter_config.json", *(name for name, _ in _OTHERS)}
    return not known.isdisjoint(names)


def weights_in(folder: str, extensions: tuple[str, ...]) -> str:
    """Return the path of the network's file in a checkpoint's folder, or of the files' index.

    What else the folder seems to be stands in the `UnreadableFileError`, and for adapters without
    their network in the `UnsupportedModelError`. Of files that could be read it names one.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise unreadable(folder, f"it is a folder that cannot be opened ({error})") from None
    found = next((name for name in _WEIGHTS if name in names), None)
    if found is not None:
        return os.path.join(folder, found)
    if "adapter_config.json" in names:
        raise UnsupportedModelError(
            f"{folder!r} holds an adapter without the network that it adapts; merge it into the "
            "network first (peft: merge_and_unload()) and save that."
        )
    for name, words in _OTHERS:
        if name in names:
            raise unreadable(folder, words)
    inside = [n for n in names if re.fullmatch(r"checkpoint-\d+", n)]
    if inside:
        last = max(inside, key=lambda name: int(name.partition("-")[2]))
        raise unreadable(folder, f"it is a folder of checkpoints; give one of them, such as {last}")
    files = [n for n in names if n.lower().endswith(extensions)]
    if files:
        raise unreadable(folder, f"it is a folder; give a file inside it, such as {files[-1]!r}")
    raise unreadable(folder, "it is a folder without a checkpoint of transformers or Keras")
