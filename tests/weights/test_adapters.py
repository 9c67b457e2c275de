"""Adapters of fine-tuning in state dicts: merged with their scale, or refused.

Live modules of peft are tested beside transformers, in integrations/huggingface.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights import read_weights
from tests.weights.comparing import assert_same_layers

RANK, ALPHA = 3, 12.0


def adapted(down: str, up: str, around: str, **factor: float) -> dict[str, torch.Tensor]:
    """A network of two layers with an unmerged adapter at the first."""
    torch.manual_seed(0)
    name = "fc1.base_layer" if "default" in down else "fc1"
    return {
        f"{around}{name}.weight": torch.randn(8, 6),
        f"{around}{name}.bias": torch.randn(8),
        f"{around}fc1.{down}": torch.randn(RANK, 6),
        f"{around}fc1.{up}": torch.randn(8, RANK),
        **{f"{around}fc1.{key}": torch.tensor(value) for key, value in factor.items()},
        f"{around}fc2.weight": torch.randn(3, 8),
    }


def together(state: dict[str, torch.Tensor], around: str) -> dict[str, torch.Tensor]:
    weight, bias, down, up = list(state.values())[:4]
    return {
        "fc1.weight": weight + ALPHA / RANK * up @ down,
        "fc1.bias": bias,
        "fc2.weight": state[f"{around}fc2.weight"],
    }


PEFT = ("lora_A.default.weight", "lora_B.default.weight")
KOHYA = ("lora_down.weight", "lora_up.weight")


@pytest.mark.parametrize(
    ("names", "around", "factor"),
    [
        (PEFT, "base_model.model.", {"scaling": ALPHA / RANK}),
        (KOHYA, "", {"alpha": ALPHA}),
        (("lora_A", "lora_B"), "", {"lora_alpha": ALPHA}),
    ],
)
def test_an_adapter_with_its_scale_is_merged(
    names: tuple[str, str], around: str, factor: dict[str, float], tmp_path: Path
) -> None:
    state = adapted(*names, around, **factor)
    save_file(state, tmp_path / "model.safetensors")
    torch.save(state, tmp_path / "model.pt")
    for source in (state, tmp_path / "model.safetensors", tmp_path / "model.pt"):
        assert_same_layers(read_weights(source), read_weights(together(state, around)), 1e-5)


@pytest.mark.parametrize("names", [PEFT, KOHYA])
def test_an_adapter_without_its_scale_is_refused(names: tuple[str, str]) -> None:
    with pytest.raises(UnsupportedModelError, match=r"scale is not stored.*merge_and_unload"):
        read_weights(adapted(*names, ""))


def test_an_adapter_alone_is_no_network(tmp_path: Path) -> None:
    prefix = "base_model.model.layers.0.q_proj"
    for leaves in (("lora_A.weight", "lora_B.weight"), ("hada_w1_a", "hada_w1_b"), ("ia3_l",)):
        state = {f"{prefix}.{leaf}": torch.randn(8, 8) for leaf in leaves}
        state["base_model.model.score.weight"] = torch.randn(2, 8)
        save_file(state, tmp_path / "adapter_model.safetensors")
        with pytest.raises(UnsupportedModelError, match="without the weight that it adapts"):
            read_weights(tmp_path / "adapter_model.safetensors")


def test_other_adapters_and_several_are_refused() -> None:
    state = adapted(*PEFT, "", scaling=2.0)
    for more in (
        {"fc1.lora_magnitude_vector.default.weight": torch.ones(8)},
        {"fc1.lora_A.second.weight": torch.ones(RANK, 6)},
        {"fc1.lora_B.default.bias": torch.ones(8)},
    ):
        with pytest.raises(UnsupportedModelError, match="cannot be merged"):
            read_weights({**state, **more})


def test_matrices_of_the_users_own_low_rank_layer_are_not_dropped() -> None:
    class LowRank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.A, self.B = (nn.Parameter(torch.randn(4, 2)) for _ in range(2))

    network = nn.ModuleDict({"linear": nn.Linear(4, 4), "lora": LowRank(), "out": nn.Linear(4, 2)})
    with pytest.raises(UnsupportedModelError, match=r"'lora\.A'"):
        read_weights(network)


def test_of_a_module_that_was_trained_in_full_the_copy_counts() -> None:
    torch.manual_seed(0)
    old, new, body = nn.Linear(4, 2), nn.Linear(4, 2), nn.Linear(5, 4)
    state = {f"body.{k}": v for k, v in body.state_dict().items()}
    state |= {f"head.original_module.{k}": v for k, v in old.state_dict().items()}
    state |= {f"head.modules_to_save.default.{k}": v for k, v in new.state_dict().items()}
    assert_same_layers(read_weights(state), read_weights(nn.Sequential(body, new)))
