"""Zoos in the format in which the authors of the "Small CNN Zoo" publish theirs.

A folder holds three files:

- ``weights.npy``: floating point, one row a checkpoint, one column a parameter;
- ``metrics.csv.gz`` (or ``metrics.csv``): one row a checkpoint, read by `zoo.metrics`;
- ``layout.csv``: which columns of the weights are which variable; kernels as (height, width, in,
  out) or (in, out), the bias of each layer beside its kernel.

The weights of the published zoo are larger than most memories, so that they are only ever
memory-mapped, a chunk of rows at a time.
"""

from __future__ import annotations

import csv
import hashlib
import math
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.weights.layers import Array, Layer, NetworkStack
from accuracy_from_weights.zoo.metrics import METRICS_FILES, ZooMetrics, read_metrics

WEIGHTS_FILE = "weights.npy"
LAYOUT_FILE = "layout.csv"
CHUNK_ROWS = 1000

# What numpy raises for a damaged file, by release.
_DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, ValueError, EOFError, OverflowError, MemoryError, SyntaxError),
    *(tokenize.TokenError, RecursionError, TypeError),
)

# How the axes of a kernel stand in the file, by its number of axes, and how Layer wants them.
_TO_OUT_IN_SPATIAL = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1), 5: (4, 3, 0, 1, 2)}


@dataclass(frozen=True)
class Variable:
    """One line of ``layout.csv``: the columns ``start`` to ``end`` (exclusive) of the weights."""

    name: str
    start: int
    end: int
    shape: tuple[int, ...]

    @property
    def layer(self) -> str:
        """The variable's layer: its name up to the last slash."""
        return self.name.rpartition("/")[0]

    @property
    def role(self) -> str:
        """The variable's role: ``"kernel"``, ``"bias"`` or ``"depthwise_kernel"``."""
        return self.name.rpartition("/")[2].partition(":")[0]


@dataclass(frozen=True, eq=False)
class PublishedZoo:
    """A folder in the published format, checked: the variables by their columns, and metrics."""

    layout: tuple[Variable, ...]
    metrics: ZooMetrics


def is_published_folder(folder: Path) -> bool:
    """Return whether the folder holds at least one file of the published format."""
    return any((folder / name).is_file() for name in (WEIGHTS_FILE, LAYOUT_FILE, *METRICS_FILES))


def open_published(folder: str | Path) -> PublishedZoo:
    """Open a folder in the published format and check its files against each other.

    Files that are missing, damaged, do not fit together, or know no test accuracy raise `ZooError`.
    """
    folder = Path(folder)
    for name in (WEIGHTS_FILE, LAYOUT_FILE):
        if not (folder / name).is_file():
            raise ZooError(f"{folder} is not a zoo in the published format: it has no {name}.")
    weights = _map_weights(folder)
    layout = read_layout(folder / LAYOUT_FILE)
    if layout[-1].end != weights.shape[1]:
        raise ZooError(
            f"{LAYOUT_FILE} in {folder} describes {layout[-1].end} columns, and {WEIGHTS_FILE} has "
            f"{weights.shape[1]}."
        )
    metrics = read_metrics(folder)
    if len(metrics) != weights.shape[0]:
        raise ZooError(
            f"{folder} has {len(metrics)} lines of metrics for {weights.shape[0]} rows of "
            f"{WEIGHTS_FILE}."
        )
    return PublishedZoo(layout, metrics)


def read_chunk(folder: Path, layout: tuple[Variable, ...], start: int, stop: int) -> NetworkStack:
    """Read the networks in the rows `start` to `stop` (exclusive).

    The file is mapped anew for each chunk: pages of a map that stays open count as memory of the
    process until the whole file is in it.
    """
    return stack_from_rows(read_rows(folder, slice(start, stop)), layout)


def read_rows(folder: Path, rows: NDArray[np.intp] | slice) -> Array:
    """Read rows of the weights into memory, half precision as single precision."""
    weights = _map_weights(folder)
    # Half precision overflows in sums of squares; single and double are kept as they are.
    dtype = np.float32 if weights.dtype.itemsize < 4 else weights.dtype.newbyteorder("=")
    return np.array(weights[rows], dtype=dtype, order="C")


def stack_from_rows(rows: Array, layout: tuple[Variable, ...]) -> NetworkStack:
    """Return n networks as views of rows of parameters, shape (n, columns)."""
    layers: dict[str, dict[str, Array]] = {}
    for variable in layout:
        values = rows[:, variable.start : variable.end].reshape(len(rows), *variable.shape)
        layers.setdefault(variable.layer, {})[variable.role] = values
    return NetworkStack(tuple(_layer(*layer) for layer in layers.items()), len(rows))


def hash_rows(folder: Path, start: int, stop: int) -> bytes:
    """Return the SHA-256 of the bytes of some rows of the weights."""
    rows = np.ascontiguousarray(_map_weights(folder)[start:stop])
    return hashlib.sha256(rows.view(np.uint8).data).digest()


def read_layout(path: Path) -> tuple[Variable, ...]:
    """Read ``layout.csv``: the variables in the order of their columns.

    `ZooError` is raised where a column or a number is missing, size and shape of a variable
    disagree, variables overlap or leave a gap, or one is neither kernel nor bias.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        variables = sorted((_variable(line) for line in lines), key=lambda variable: variable.start)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ZooError(
            f"{path} lacks varname, start_idx, end_idx or shape in a line: {type(error).__name__} "
            f"({error})."
        ) from error
    if not variables:
        raise ZooError(f"{path} names no variable.")
    column = 0
    for variable in variables:
        size = math.prod(variable.shape)
        is_whole = size > 0 and min(variable.shape, default=1) > 0
        if variable.start != column or variable.end - variable.start != size or not is_whole:
            raise ZooError(
                f"{path} puts {variable.name} of shape {variable.shape} in columns "
                f"{variable.start} to {variable.end}. Variables must follow each other without "
                f"gaps, and column {column} comes next."
            )
        column = variable.end
    _check_roles(path, variables)
    return tuple(variables)


def _variable(line: dict[str, str]) -> Variable:
    shape = tuple(int(number) for number in re.findall(r"-?\d+", line["shape"]))
    return Variable(line["varname"], int(line["start_idx"]), int(line["end_idx"]), shape)


def _check_roles(path: Path, variables: list[Variable]) -> None:
    kernels: dict[str, Variable] = {}
    biases: dict[str, Variable] = {}
    for variable in variables:
        role, n_axes = variable.role, len(variable.shape)
        is_kernel = role == "kernel" and n_axes in _TO_OUT_IN_SPATIAL
        is_kernel = is_kernel or (role == "depthwise_kernel" and n_axes == 4)
        target = kernels if is_kernel else biases if (role, n_axes) == ("bias", 1) else None
        if target is None or variable.layer in target:
            raise ZooError(
                f"{variable.name} of shape {variable.shape} in {path} does not fit: each layer "
                "has one kernel and at most one bias."
            )
        target[variable.layer] = variable
    for layer, bias in biases.items():
        n_out = 0
        if layer in kernels:
            *_, depth, n_out = kernels[layer].shape
            n_out *= depth if kernels[layer].role == "depthwise_kernel" else 1
        if n_out != bias.shape[0]:
            raise ZooError(
                f"The bias {bias.name} in {path} has {bias.shape[0]} values for {n_out or 'no'} "
                "outputs."
            )


def layout_of(stack: NetworkStack) -> tuple[Variable, ...]:
    """Return the columns of each layer's parameters, each bias before its kernel.

    A layer that is neither dense nor a plain convolution raises `ZooError`.
    """
    counts: dict[str, int] = {}
    variables: list[Variable] = []
    column = 0
    for layer in stack.layers:
        n_axes = layer.kernel.ndim - 1
        kind = "dense" if n_axes == 2 else "conv"
        fits = layer.kind == kind and n_axes in _TO_OUT_IN_SPATIAL
        if not fits or layer.norm_scale is not None or layer.norm_shift is not None:
            raise ZooError(
                f"{layer.name} cannot be written in the published format, which holds dense "
                f"layers and convolutions alone: it is a {layer.kind} with a kernel of {n_axes} "
                "axes."
            )
        kind = kind if n_axes == 2 else f"conv{n_axes - 2}d"
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        name = f"sequential/{kind}_{number}" if number else f"sequential/{kind}"
        axes = _TO_OUT_IN_SPATIAL[n_axes]
        shape = layer.kernel.shape[1:]
        roles = [("kernel", tuple(shape[axes.index(axis)] for axis in range(n_axes)))]
        if layer.bias is not None:
            roles.insert(0, ("bias", layer.bias.shape[1:]))
        for role, role_shape in roles:
            end = column + int(np.prod(role_shape))
            variables.append(Variable(f"{name}/{role}:0", column, end, role_shape))
            column = end
    return tuple(variables)


def rows_of(stack: NetworkStack) -> Array:
    """Return networks as rows of parameters in the order of `layout_of`, shape (n, columns)."""
    parts = []
    for layer in stack.layers:
        if layer.bias is not None:
            parts.append(layer.bias)
        axes = _TO_OUT_IN_SPATIAL[layer.kernel.ndim - 1]
        back = tuple(axes.index(axis) + 1 for axis in range(len(axes)))
        parts.append(layer.kernel.transpose(0, *back).reshape(stack.n_networks, -1))
    return np.concatenate(parts, axis=1)


def write_layout(path: Path, layout: tuple[Variable, ...]) -> None:
    """Write ``layout.csv`` as the authors do."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["varname", "start_idx", "end_idx", "size", "shape"])
        for v in layout:
            writer.writerow([v.name, v.start, v.end, v.end - v.start, str(v.shape)])


def _layer(name: str, variables: dict[str, Array]) -> Layer:
    short_name = name.rpartition("/")[2]
    if "depthwise_kernel" in variables:
        kernel = variables["depthwise_kernel"]
        n, height, width, n_in, multiplier = kernel.shape
        kernel = kernel.transpose(0, 3, 4, 1, 2).reshape(n, n_in * multiplier, 1, height, width)
        return Layer(short_name, "depthwise_conv", kernel, variables.get("bias"))
    kernel = variables["kernel"]
    axes = _TO_OUT_IN_SPATIAL[kernel.ndim - 1]
    kernel = kernel.transpose(0, *(axis + 1 for axis in axes))
    kind = "dense" if kernel.ndim == 3 else "conv"
    return Layer(short_name, kind, kernel, variables.get("bias"))


def _map_weights(folder: Path) -> Array:
    path = folder / WEIGHTS_FILE
    try:
        weights = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE as error:
        raise ZooError(
            f"{path} is not a complete array in numpy's .npy format: {error}."
        ) from error
    if weights.ndim != 2 or weights.dtype.kind != "f" or not weights.shape[0]:
        raise ZooError(
            f"{path} holds an array of shape {weights.shape} and type {weights.dtype} instead of "
            "floating point numbers, one row for each checkpoint."
        )
    return weights
