"""Live modules that peft has wrapped: what they compute with is what is read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights import read_weights
from tests.weights.comparing import assert_same_layers

peft = pytest.importorskip("peft")


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 6)
        self.fc1, self.fc2, self.classifier = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.fc1(self.embed(x).mean(dim=1)))
        return self.classifier(torch.relu(self.fc2(x)))


def wrapped(config: Any) -> Any:
    torch.manual_seed(0)
    model = peft.get_peft_model(Network(), config)
    with torch.no_grad():  # as after some training: an adapter begins as nothing
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize(
    "config",
    [
        peft.LoraConfig(r=3, lora_alpha=12, target_modules=["fc1", "fc2"]),
        peft.LoraConfig(r=3, lora_alpha=9, target_modules=["fc1", "embed"], use_rslora=True),
        peft.LoraConfig(r=2, target_modules=["fc1"], modules_to_save=["classifier"]),
        peft.LoHaConfig(r=3, alpha=8, target_modules=["fc1", "fc2"]),
        peft.LoKrConfig(r=3, alpha=8, target_modules=["fc1"]),
    ],
    ids=["lora", "embedding", "head", "loha", "lokr"],
)
def test_adapters_are_merged_as_in_the_forward_pass(config: Any) -> None:
    model = wrapped(config)
    x = torch.arange(14).reshape(2, 7) % 7
    live, answers = read_weights(model), model(x)
    with model.disable_adapter(), pytest.raises(AssertionError):
        assert_same_layers(read_weights(model), live)
    merged = model.merge_and_unload()
    torch.testing.assert_close(merged(x), answers)
    assert_same_layers(live, read_weights(merged), 1e-5)


@pytest.mark.parametrize(
    "config",
    [
        peft.LoraConfig(r=3, target_modules=["fc1"], use_dora=True),
        peft.LoraConfig(r=3, target_modules=["fc1"], lora_bias=True),
        peft.IA3Config(target_modules=["fc1"], feedforward_modules=["fc1"]),
        peft.OFTConfig(r=2, oft_block_size=0, target_modules=["fc2"]),
    ],
    ids=["dora", "bias", "ia3", "oft"],
)
def test_other_adapters_are_refused(config: Any) -> None:
    model = wrapped(config)
    with pytest.raises(UnsupportedModelError, match="merge_and_unload"):
        read_weights(model)
    assert len(read_weights(model.merge_and_unload()).layers) == 4


def test_what_peft_saves_is_an_adapter_without_its_network(tmp_path: Any) -> None:
    model = wrapped(peft.LoraConfig(r=3, target_modules=["fc1"]))
    model.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="without the weight that it adapts"):
        read_weights(tmp_path / "adapter_model.safetensors")
    with pytest.raises(UnsupportedModelError, match="scale is not stored"):
        read_weights(model.state_dict())
