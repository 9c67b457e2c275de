"""Reading of PyTorch's files by its weights-only loader: tensors and containers only."""

from __future__ import annotations

import os
import pickle
import pickletools
import re
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

from accuracy_from_weights.errors import UntrustedFileError, needs
from accuracy_from_weights.io.archives import check_expansion, open_zip
from accuracy_from_weights.weights.files.errors import damaged
from accuracy_from_weights.weights.found_layers import Part
from accuracy_from_weights.weights.naming.state_dicts import check_is_mapping, parts_of_mapping

_REFUSALS = re.compile(
    r"(?:Unsupported|Unsupport\w*) (?:global|class)|GLOBAL|not an allowed|Trying to|Can only|"
    r"TorchScript|callable|reduce",
    re.IGNORECASE,
)
"""How torch's loader words that a file wants more than tensors."""

_MAGIC_NUMBER = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""With which torch's files begin that are not zip archives."""

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def parts_of_file(path: str, part: str | None = None) -> list[Part]:
    """Return the parts of a state dict, or of a checkpoint that holds one."""
    return parts_of_mapping(check_is_mapping(tensors_of_file(path)), part=part)


def tensors_of_file(path: str) -> Any:
    """Return what a file holds: tensors and containers of them."""
    with needs(f"Reading {path!r} needs PyTorch", extra="torch"):
        import torch
    if not zipfile.is_zipfile(path):
        _refuse_plain_pickle(path)
    else:
        with open_zip(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise _untrusted(path, "a TorchScript archive, which holds code")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error)
        if _REFUSALS.search(text.partition("WeightsUnpickler error")[2] or text):
            wanted = _GLOBAL.search(text)
            what = f"a pickle which wants to call {wanted[1]}" if wanted else "a pickle with code"
            raise _untrusted(path, what) from None
        raise damaged(path, "it is damaged or no file of PyTorch's") from None
    _check_tensors(loaded, os.path.getsize(path), torch)
    return loaded


def _refuse_plain_pickle(path: str) -> None:
    """Refuse pickles that torch.save did not write, and say whether they would run code.

    The opcodes are read, not run. What torch.save wrote passes on to torch's own loader.
    """
    with open(path, "rb") as file:
        if _MAGIC_NUMBER in file.read(64):
            return
        file.seek(0)
        wanted = _first_global(file)
    if wanted is not None:
        raise _untrusted(path, f"a pickle which wants to call {wanted}")
    raise damaged(path, "it is truncated or was not written by torch.save")


def _first_global(file: BinaryIO) -> str | None:
    """Return the name of the first function or class that a pickle would call."""
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name in ("GLOBAL", "INST"):
                return ".".join(str(argument).split())
            if opcode.name == "STACK_GLOBAL":
                return ".".join(strings[-2:])
            if isinstance(argument, str):
                strings.append(argument)
    except (ValueError, IndexError, AttributeError, OverflowError):
        pass  # truncated, or no pickle after all
    return None


def _untrusted(path: str, what: str) -> UntrustedFileError:
    return UntrustedFileError(
        f"Reading {path!r} would run code, so it was not read: it is {what}; save the model's "
        "state_dict() instead."
    )


def _check_tensors(loaded: Any, size: int, torch: Any) -> None:
    """Refuse tensors that claim more values than the file holds, before they are unrolled."""
    stack, met, declared = [loaded], set(), 0
    while stack:
        value = stack.pop()
        if id(value) in met:
            continue
        met.add(id(value))
        if isinstance(value, Mapping | list | tuple):
            stack.extend(value.values() if isinstance(value, Mapping) else value)
        elif isinstance(value, torch.Tensor) and not value.is_meta:
            declared += value.numel() * value.element_size()
    check_expansion(declared, size, "the tensors together")
