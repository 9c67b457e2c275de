"""Reading of any model or file into one description of its layers.

No framework is imported here: PyTorch and Keras are looked up among the modules that the user's
own code has already imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights.checkpoints import check_one_network
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.layers import Layer, NetworkStack, NetworkWeights, stack_networks
from accuracy_from_weights.weights.naming.state_dicts import check_is_mapping, parts_of_mapping
from accuracy_from_weights.weights.order.folding import layers_from_parts

__all__ = ["Layer", "NetworkStack", "NetworkWeights", "read_weights", "stack_networks"]


def read_weights(source: Any, part: str | None = None) -> NetworkWeights:
    """Read a network's layers, in the order in which the data flows through them.

    Parameters
    ----------
    source : model, mapping, path or NetworkWeights
        One of

        - ``keras.Model`` (Keras 3, any backend), or a single ``keras.Layer``;
        - ``torch.nn.Module``, compiled or wrapped in DataParallel or a LightningModule;
        - a state dict: names to tensors or numpy arrays, kernels named ``weight`` and laid out
          as (out, in, *spatial);
        - a nested mapping of arrays with Keras's or Flax's names: ``kernel`` laid out as
          (*spatial, in, out);
        - a path to a ``.keras``, ``.weights.h5``, ``.h5``, ``.pt``, ``.pth``, ``.ckpt``,
          ``.safetensors`` or ``.npz`` file, none of which is allowed to run code;
        - what this function has returned before, which is returned as it is.
    part : str, optional
        Which network to read where the source holds several, such as a student and its teacher: a
        key of the checkpoint, the name of a module or layer inside the model, or what the names of
        its tensors begin with. Of a zoo's file of one network, the checkpoint: the number of epochs
        trained. Default: the only one.

    Returns
    -------
    NetworkWeights
        Arrays are float32, or float64 where the source is, and read-only. They share the
        model's memory where they can, so that they change when the model is trained on: copy
        what is to be kept. Large kernels of PyTorch on a GPU stay there until `Layer.kernel` is
        asked for.

    Raises
    ------
    UnsupportedModelError
        When no layer has a kernel, when the type is unknown, when there are several networks and
        `part` names none of them, or when the values are not on this machine (sharded, lazy or
        meta tensors).
    UnreadableFileError
        When a file is missing, truncated, absurd in size or of another format than it says.
    UntrustedFileError
        When reading the file would run code that it carries.
    MissingDependencyError
        When reading the file needs a library that is not installed.

    Examples
    --------
    >>> weights = read_weights({"student": student, "teacher": teacher}, part="teacher")
    """
    if isinstance(source, NetworkWeights):
        return source
    source, part = inner_model(source, part)
    parts = _parts(source, part)
    check_one_network(parts)
    layers = layers_from_parts(parts)
    if not layers:
        raise UnsupportedModelError(
            f"{_described(source)} holds no layer with a kernel, a weight of two or more axes; "
            "save the whole network, and build a Keras model first."
        )
    before = {found.before for found in parts}
    return NetworkWeights(layers, None not in before, before <= {"pass", "rectifier"})


def inner_model(source: Any, part: str | None) -> tuple[Any, str | None]:
    """Return the module or layer that `part` names, and None for what is left of the name.

    Both are returned as given unless the source is a model.
    """
    framework = None if part is None else _framework_of(source)
    return (source, part) if framework is None else (framework.layer_inside(source, part), None)


def _parts(source: Any, part: str | None) -> list[Part]:
    if isinstance(source, str | os.PathLike):
        from accuracy_from_weights.weights.files import parts_of_file

        return parts_of_file(source, part)
    framework = _framework_of(source)
    if framework is None:
        return parts_of_mapping(check_is_mapping(source), part=part)
    parts: list[Part] = framework.parts_of_model(source)
    return parts


def _framework_of(source: object) -> ModuleType | None:
    """Return the module that reads a framework's models, or None where the source is no model."""
    # Keras comes first: on its torch backend a Keras model is a PyTorch module as well.
    for framework, where, name in (("keras", "keras", "Layer"), ("torch", "torch.nn", "Module")):
        base = getattr(sys.modules.get(where), name, None)
        if isinstance(base, type) and isinstance(source, base):
            return importlib.import_module(f"{__name__}.{framework}")
    return None


def _described(source: object) -> str:
    if isinstance(source, str | os.PathLike):
        return f"The file {os.fspath(source)!r}"
    return f"The object of type {type(source).__name__}"
