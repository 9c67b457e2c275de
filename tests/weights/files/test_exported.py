"""Programs that torch.export saved: their weights are those of the module, and no code runs."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch

from accuracy_from_weights.errors import UnreadableFileError
from accuracy_from_weights.weights import read_weights
from tests.weights.comparing import assert_same_layers


class Network(torch.nn.Module):
    """A convolution with batch norm, a kernel stored transposed, and one in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.hidden = torch.nn.Linear(144, 6)
        self.hidden.weight = torch.nn.Parameter(torch.randn(144, 6).T)
        self.last = torch.nn.Linear(6, 3, dtype=torch.bfloat16)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x))).flatten(1)
        return self.last(torch.relu(self.hidden(x)).bfloat16())


@pytest.fixture(scope="module")
def module() -> Network:
    torch.manual_seed(0)
    network = Network()
    network(torch.randn(16, 1, 8, 8))  # so that batch norm has seen something
    return network.eval()


@pytest.fixture(scope="module")
def exported(module, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.pt2"
    torch.export.save(torch.export.export(module, (torch.zeros(2, 1, 8, 8),)), path)
    return path


def rewritten(source: Path, path: Path, change) -> Path:
    """Copy an archive with its members' bytes changed by ``change(name, data)``."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return path


def test_an_exported_program_is_the_network_that_was_exported(module, exported):
    assert_same_layers(read_weights(exported), read_weights(module))


class Functional(torch.nn.Module):
    """A convolution and a head around a group normalisation that is no module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.scale = torch.nn.Parameter(torch.ones(4))
        self.head = torch.nn.Linear(144, 3)

    def forward(self, x):
        normalised = torch.nn.functional.group_norm(self.conv(x), 2, self.scale)
        return self.head(torch.relu(normalised).flatten(1))


def test_functions_of_parameters_are_the_same_steps_in_a_module_and_its_program(tmp_path):
    module, path = Functional(), tmp_path / "model.pt2"
    torch.export.save(torch.export.export(module, (torch.zeros(2, 1, 8, 8),)), path)
    live, saved = read_weights(module), read_weights(path)
    assert live.is_chain
    assert saved.is_chain
    assert_same_layers(saved, live)


def test_the_pickle_beside_the_weights_is_never_opened(module, exported, tmp_path):
    def garble(name, data):
        return b"cos\nsystem\n(S'exit 1'\ntR." if name.endswith(".pt") else data

    path = rewritten(exported, tmp_path / "model.pt2", garble)
    assert_same_layers(read_weights(path), read_weights(module))


def with_entry(**changes):
    def change(name, data):
        if not name.endswith("model_weights_config.json"):
            return data
        index = json.loads(data)
        entry = index["config"]["hidden.weight"]
        for key, value in changes.items():
            holder = entry if key in entry else entry["tensor_meta"]
            holder[key] = value
        return json.dumps(index).encode()

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda name, data: None if "weights" in name else data, "without the weights"),
        (lambda name, data: data[:40] if "weight_" in name else data, "disagree"),
        (with_entry(sizes=[{"as_int": 10**6}, {"as_int": 10**6}]), "disagree"),
        (with_entry(strides=[{"as_int": 0}, {"as_int": 0}], sizes=[{"as_int": 10**9}] * 2), "disa"),
        (with_entry(strides=[{"as_int": -1}, {"as_int": 1}]), "disagree"),
        (with_entry(dtype=99), "unknown type"),
        (with_entry(use_pickle=True), "is a pickle"),
        (lambda name, data: b"{" if name.endswith("config.json") else data, "damaged"),
    ],
)
def test_damaged_archives_are_one_sentence(exported, tmp_path, change, sentence):
    path = rewritten(exported, tmp_path / "model.pt2", change)
    with pytest.raises(UnreadableFileError, match=sentence):
        read_weights(path)


def test_the_head_of_an_archive_is_not_enough(exported, tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(exported.read_bytes()[:3000])
    with pytest.raises(UnreadableFileError, match="damaged"):
        read_weights(path)


class OtherOrder(torch.nn.Module):
    """Layers of one shape that are registered in another order than they run."""

    def __init__(self) -> None:
        super().__init__()
        self.beta, self.alpha = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)
        self.norm = torch.nn.BatchNorm1d(6)

    def forward(self, x):
        return self.beta(self.norm(torch.tanh(self.alpha(x))))


def test_the_program_tells_the_order_and_what_lies_between(tmp_path) -> None:
    torch.manual_seed(0)
    module = OtherOrder()
    module(torch.randn(16, 6))
    program = torch.export.export(module.eval(), (torch.zeros(2, 6),))
    torch.export.save(program, tmp_path / "model.pt2")
    network = read_weights(tmp_path / "model.pt2")
    assert [layer.name for layer in network.layers] == ["alpha", "beta"]
    assert network.is_chain
    assert not network.is_rectified
    assert_same_layers(network, read_weights(module))
    broken = rewritten(
        tmp_path / "model.pt2",
        tmp_path / "broken.pt2",
        lambda name, data: b"{}" if name.endswith("/models/model.json") else data,
    )
    assert not read_weights(broken).is_chain
