"""Checkpoints with more in them than one network: the right one is read, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from accuracy_from_weights import load_predictor
from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights import read_weights
from accuracy_from_weights.zoo.network_file import StoredNetwork, encode
from tests.weights.comparing import assert_same_layers


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 10)
    return nn.Sequential(*layers).eval()


STUDENT, TEACHER = network(0), network(1)
FIRST, SECOND = STUDENT.state_dict(), TEACHER.state_dict()


def prefixed(**states: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value for name, state in states.items() for key, value in state.items()
    }


def flax(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "Dense_0": {"kernel": rng.normal(size=(7, 5)), "bias": rng.normal(size=5)},
        "Dense_1": {"kernel": rng.normal(size=(5, 3)), "bias": rng.normal(size=3)},
    }


@pytest.mark.parametrize(
    ("checkpoint", "first", "second"),
    [
        ({"student": FIRST, "teacher": SECOND}, "student", "teacher"),
        ({"params": FIRST, "params_ema": SECOND}, "params", "params_ema"),
        ({"model": FIRST, "ema": SECOND, "epoch": 3}, "model", "ema"),
        ({"state_dict": FIRST, "model_ema": prefixed(module=SECOND)}, "state_dict", "model_ema"),
        ({"net": FIRST, "copy_of_it": SECOND}, "net", "copy_of_it"),
        ({"a": FIRST, "b": SECOND}, "a", "b"),
        ({"models": [FIRST, SECOND]}, "models.0", "models.1"),
        (prefixed(model=FIRST, ema_model=SECOND), "model", "ema_model"),
        (prefixed(q=FIRST, q_target=SECOND), "q", "q_target"),
        ({"state_dict": prefixed(encoder_q=FIRST, encoder_k=SECOND)}, "encoder_q", "encoder_k"),
        (
            {"state_dict": prefixed(**{"module.net": FIRST, "module.teacher": SECOND})},
            "net",
            "teacher",
        ),
    ],
)
def test_of_two_networks_none_is_read_unless_one_is_named(
    checkpoint: dict[str, Any], first: str, second: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=f"{first!r}.*{second!r}.*--part"):
        read_weights(checkpoint)
    assert_same_layers(read_weights(checkpoint, part=first), read_weights(STUDENT))
    assert_same_layers(read_weights(checkpoint, part=second), read_weights(TEACHER))


def test_a_teacher_of_another_shape_and_the_other_half_of_a_gan_are_no_layers() -> None:
    large = nn.Sequential(nn.Linear(9, 50), nn.Linear(50, 10)).state_dict()
    for name in ("teacher", "discriminator", "critic"):
        for checkpoint in ({"main": FIRST, name: large}, prefixed(main=FIRST, **{name: large})):
            with pytest.raises(UnsupportedModelError, match=name):
                read_weights(checkpoint)
            assert_same_layers(read_weights(checkpoint, "main"), read_weights(STUDENT))


def test_the_two_networks_of_a_gan_by_their_usual_names() -> None:
    other = nn.Sequential(nn.Linear(9, 50), nn.Linear(50, 1)).state_dict()
    for names in (("netG", "netD"), ("G", "D"), ("G_A", "D_A"), ("g_model", "d_model")):
        both = dict(zip(names, (FIRST, other), strict=True))
        for checkpoint in (both, prefixed(**both)):
            with pytest.raises(UnsupportedModelError, match=f"{names[0]!r}.*{names[1]!r}"):
                read_weights(checkpoint)
            assert_same_layers(read_weights(checkpoint, names[0]), read_weights(STUDENT))


def test_known_wrappers_win_whatever_lies_beside_them() -> None:
    module = network(5)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.randn(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    beside = {
        "optimizer": optimizer.state_dict(),
        "rng_state": torch.get_rng_state(),
        "confusion": torch.ones(10, 10),
        "best_accuracy": torch.tensor(0.9),
        "queue": {"keys": torch.ones(128, 64)},
        "scheduler": {"base_lrs": [0.1]},
        "criterion": {"weight": torch.ones(10, 4)},
        "epoch": 3,
        "args": {"width": 6},
        "current_model_state": SECOND,  # Lightning's, beside what it has averaged
    }
    for wrapper in ("state_dict", "model_state_dict", "model", "module", "net", "params", "ema"):
        for checkpoint in ({wrapper: FIRST, **beside}, {**beside, wrapper: FIRST}):
            assert_same_layers(read_weights(checkpoint), read_weights(STUDENT))
    nested = {"model": {"module": {"state_dict": prefixed(module=FIRST)}}, **beside}
    assert_same_layers(read_weights(nested), read_weights(STUDENT))


def test_layers_beside_what_might_be_a_wrapper_are_not_left_out() -> None:
    backbone = {"net": nn.Linear(8, 4).state_dict(), "head": nn.Linear(4, 2).state_dict()}
    with pytest.raises(UnsupportedModelError, match="'net' and 'head'"):
        read_weights(backbone)
    parts = {"encoder": nn.Linear(8, 4).state_dict(), "head": nn.Linear(4, 2).state_dict()}
    assert [layer.shape for layer in read_weights(parts).layers] == [(4, 8), (2, 4)]


def test_states_of_jax_optimisers_are_no_networks() -> None:
    state = {
        "step": np.array(5),
        "params": flax(0),
        "opt_state": {"0": {"mu": flax(1), "nu": flax(2)}},
    }
    assert_same_layers(read_weights(state), read_weights(flax(0)))
    with_statistics = {**state, "batch_stats": {"BatchNorm_0": {"mean": np.ones(5)}}}
    assert len(read_weights(with_statistics).layers) == 2
    with pytest.raises(UnsupportedModelError, match="'params' and 'ema_params'"):
        read_weights({**with_statistics, "ema_params": flax(3)})


def repeated(n: int, block: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(*(block() for _ in range(n)))


@pytest.mark.parametrize(
    "module",
    [
        repeated(3, lambda: nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))),
        nn.ModuleDict({"block1": repeated(2, lambda: nn.Linear(4, 4)), "fc": nn.Linear(4, 2)}),
        nn.ModuleDict({f"block{i}": repeated(2, lambda: nn.Linear(4, 4)) for i in range(2)}),
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2),
        nn.ModuleDict(  # two branches and what joins them
            {"left": network(), "right": network(), "head": nn.Linear(20, 10)}
        ),
        nn.ModuleDict(
            {"source_embedding": nn.Embedding(5, 4), "target_embedding": nn.Linear(5, 4)}
        ),
        nn.ModuleDict({"fc1": nn.Linear(4, 4), "fc2": nn.Linear(4, 4)}),
    ],
    ids=["blocks", "head", "numbered", "transformer", "branches", "embeddings", "layers"],
)
def test_blocks_of_one_network_are_not_taken_for_several(module: nn.Module) -> None:
    n_kernels = sum(1 for name, p in module.named_parameters() if p.ndim > 1)
    assert len(read_weights(module).layers) >= n_kernels


def test_an_ensemble_is_several_networks() -> None:
    with pytest.raises(UnsupportedModelError, match=r"'members\.0'"):
        read_weights(nn.ModuleDict({"members": nn.ModuleList([STUDENT, TEACHER])}))


class Distiller(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.student = STUDENT
        self.teacher = TEACHER
        self.temperature = nn.Parameter(torch.ones(1))


def test_a_live_module_that_carries_its_teacher() -> None:
    module = Distiller()
    for wrapped in (module, nn.DataParallel(module), nn.ModuleDict({"module": module})):
        with pytest.raises(UnsupportedModelError, match="'student' and 'teacher'"):
            read_weights(wrapped)
        assert_same_layers(read_weights(wrapped, "teacher"), read_weights(TEACHER))
    predictor = load_predictor()
    assert predictor.estimate(module, part="student") == predictor.estimate(STUDENT)
    with pytest.raises(UnsupportedModelError, match="no part 'techer'"):
        read_weights(module, "techer")

    class OwnLayers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(4, 3), nn.Linear(3, 2)
            self.teacher = TEACHER

    with pytest.raises(UnsupportedModelError, match="part='teacher'"):
        read_weights(OwnLayers())


def test_a_live_keras_model_that_carries_its_teacher_and_its_files(tmp_path: Path) -> None:
    def model(name: str) -> keras.Model:
        layers = keras.layers
        return keras.Sequential(
            [keras.Input((6,)), layers.Dense(5, activation="relu"), layers.Dense(3)], name=name
        )

    class Pair(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.student, self.teacher = model("small_one"), model("teacher")

        def call(self, inputs: Any) -> Any:
            return self.student(inputs) + 0 * self.teacher(inputs)

    pair = Pair()
    pair(np.ones((1, 6), np.float32))
    with pytest.raises(UnsupportedModelError, match="'student' and 'teacher'"):
        read_weights(pair)
    assert_same_layers(read_weights(pair, "student"), read_weights(pair.student))
    assert_same_layers(read_weights(pair, "teacher"), read_weights(pair.teacher))
    pair.save_weights(tmp_path / "pair.weights.h5")
    with pytest.raises(UnsupportedModelError, match="'sequential' and 'sequential_1'"):
        read_weights(tmp_path / "pair.weights.h5")
    stored = read_weights(tmp_path / "pair.weights.h5", "sequential_1")
    assert_same_layers(stored, read_weights(pair.teacher))
    with pytest.raises(UnsupportedModelError, match="no part 'tutor'"):
        read_weights(tmp_path / "pair.weights.h5", "tutor")


def test_parts_of_files(tmp_path: Path) -> None:
    torch.save({"student": FIRST, "teacher": SECOND}, tmp_path / "both.pt")
    save_file(prefixed(student=FIRST, teacher=SECOND), tmp_path / "both.safetensors")
    arrays = {k: v.numpy() for k, v in prefixed(student=FIRST, teacher=SECOND).items()}
    np.savez(tmp_path / "both.npz", **arrays)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(UnsupportedModelError, match="'student' and 'teacher'") as caught:
            read_weights(path)
        assert str(path) in str(caught.value)
        assert_same_layers(read_weights(path, "teacher"), read_weights(TEACHER))


def test_a_network_of_a_zoo_is_read_at_the_checkpoint_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "000003.npz"
    states = [network(seed).state_dict() for seed in range(3)]
    weights = {name: np.stack([state[name].numpy() for state in states]) for name in states[0]}
    path.write_bytes(encode(StoredNetwork({"steps": [0.0, 0.5, 12.0]}, weights)))
    for wrong in (None, "3"):
        with pytest.raises(UnsupportedModelError, match=r"0, 0\.5, 12 epochs.*part='12'"):
            read_weights(path, wrong)
    assert_same_layers(read_weights(path, "0.5"), read_weights(TEACHER))
    one = {name: stack[:1] for name, stack in weights.items()}
    path.write_bytes(encode(StoredNetwork({"steps": [7.0]}, one)))
    assert_same_layers(read_weights(path), read_weights(STUDENT))
