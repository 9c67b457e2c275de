"""Normalisations and the kernels they follow."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from accuracy_from_weights.weights import read_weights
from tests.weights.comparing import assert_same_layers


def random_state(rng: np.random.Generator, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    state = {}
    for name, shape in shapes.items():
        low, high = (0.5, 2.0) if name.endswith("running_var") else (-1.0, 1.0)
        state[name.replace("__", ".")] = rng.uniform(low, high, shape)
    return state


@given(
    factor=st.floats(1e-3, 1e3),
    out=st.integers(1, 5),
    n_in=st.integers(1, 4),
    size=st.integers(1, 3),
    has_bias=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_a_scale_that_the_network_does_not_feel_does_not_count(
    factor: float, out: int, n_in: int, size: int, has_bias: bool, seed: int
) -> None:
    state = random_state(
        np.random.default_rng(seed),
        conv__weight=(out, n_in, size, size),
        bn__weight=(out,),
        bn__bias=(out,),
        bn__running_mean=(out,),
        bn__running_var=(out,),
        fc__weight=(3, out),
        **({"conv__bias": (out,)} if has_bias else {}),
    )
    # Scaled up before, so that epsilon hardly counts.
    for name, power in (("conv.weight", 1), ("bn.running_mean", 1), ("bn.running_var", 2)):
        state[name] = state[name] * 1e4**power
    scaled = dict(state)
    for name, power in (
        ("conv.weight", 1),
        ("conv.bias", 1),
        ("bn.running_mean", 1),
        ("bn.running_var", 2),
    ):
        if name in scaled:
            scaled[name] = scaled[name] * factor**power
    for one, other in zip(read_weights(state).layers, read_weights(scaled).layers, strict=True):
        np.testing.assert_allclose(one.kernel, other.kernel, rtol=1e-4, atol=1e-9)
        if one.bias is not None:
            np.testing.assert_allclose(one.bias, other.bias, rtol=1e-4, atol=1e-4)


def test_the_folded_layer_answers_like_the_two() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=1e-2))
    module(torch.randn(64, 3, 5, 5) * 3 + 1)  # moves the running statistics
    with torch.no_grad():
        module[1].weight.uniform_(0.5, 2)
        module[1].bias.uniform_(-1, 1)
    layer = read_weights(module).layers[0]
    inputs = torch.randn(2, 3, 5, 5)
    kernel, bias = (torch.from_numpy(array.copy()) for array in (layer.kernel, layer.bias))
    answers = torch.conv2d(inputs, kernel, bias)
    with torch.no_grad():
        torch.testing.assert_close(answers, module.eval()(inputs), rtol=1e-4, atol=1e-5)


class AfterActivation(nn.Module):
    """Normalises what its rectifiers give out, and flattens."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12)
        self.fc = nn.Linear(12 * 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn1(torch.relu(self.conv1(x)))
        x = self.bn2(torch.relu(self.conv2(x)))
        return self.fc(torch.flatten(x, 1))


@torch.no_grad()
def trained(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Move the running statistics, as training does, and the scales and shifts."""
    torch.manual_seed(0)
    for _ in range(30):
        module.train()(torch.randn(32, *shape))
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.uniform_(0.5, 2)
            part.bias.uniform_(-1, 1)
    return module.eval()


def test_after_an_activation_it_is_folded_into_the_next_layer() -> None:
    module = trained(AfterActivation(), (3, 6, 6))
    layers = read_weights(module).layers
    np.testing.assert_array_equal(layers[0].kernel, module.conv1.weight.detach())
    inputs = torch.randn(4, 3, 6, 6)
    conv1, conv2, linear = (
        (torch.tensor(layer.kernel), torch.tensor(layer.bias)) for layer in layers
    )
    with torch.no_grad():
        x = torch.relu(torch.conv2d(inputs, *conv1))
        x = torch.relu(torch.conv2d(x, *conv2))
        answers = nn.functional.linear(torch.flatten(x, 1), *linear)
        torch.testing.assert_close(answers, module(inputs), rtol=1e-4, atol=1e-4)


def test_a_state_dict_tells_an_activation_before_by_the_running_means() -> None:
    module = trained(AfterActivation(), (3, 6, 6))
    assert_same_layers(read_weights(module.state_dict()), read_weights(module))
    before = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
    )
    trained(before, (3, 6, 6))
    names = {"0": "conv1", "1": "bn1", "4": "fc"}
    state = {names[key[0]] + key[1:]: tensor for key, tensor in before.state_dict().items()}
    assert_same_layers(read_weights(state), read_weights(before))


def test_numbers_of_a_sequence_tell_what_lies_between() -> None:
    for activation in (nn.Tanh(), nn.ELU()):  # of which the running means tell nothing
        module = nn.Sequential(
            nn.Conv2d(3, 8, 3), activation, nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3)
        )
        trained(module, (3, 6, 6))
        assert_same_layers(read_weights(module.state_dict()), read_weights(module))
        first = read_weights(module.state_dict()).layers[0]
        np.testing.assert_array_equal(first.kernel, module[0].weight.detach())


def test_pooling_and_dropout_do_not_part_a_kernel_from_its_norm() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Dropout2d(), nn.AvgPool2d(2), nn.BatchNorm2d(8), nn.ReLU()
    )
    trained(module, (3, 6, 6))
    (layer,) = read_weights(module).layers
    scale = module[3].weight / torch.sqrt(module[3].running_var + 1e-5)
    kernel = (module[0].weight * scale[:, None, None, None]).detach()
    np.testing.assert_allclose(layer.kernel, kernel, rtol=1e-5)


def test_batch_norm_without_scale_or_running_statistics() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, affine=False))
    with torch.no_grad():
        module[1].running_var.fill_(4.0)
    layer = read_weights(module).layers[0]
    np.testing.assert_allclose(layer.kernel, module[0].weight.detach() / 2, rtol=1e-5)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False))
    layer = read_weights(module).layers[0]
    # It depends on the batch, as a layer normalisation does on the input.
    np.testing.assert_array_equal(layer.norm_scale, np.ones(4, np.float32))
    np.testing.assert_array_equal(layer.kernel, module[0].weight.detach())


def test_all_convolutions_registered_before_all_norms() -> None:
    state = random_state(
        np.random.default_rng(0),
        **{f"conv{i}__weight": (4, 4, 3, 3) for i in range(3)},
    )
    for i in range(3):
        state[f"bn{i}.running_mean"] = np.zeros(4)
        state[f"bn{i}.running_var"] = np.full(4, 4.0 ** (i + 1))
    for i, layer in enumerate(read_weights(state).layers):
        np.testing.assert_allclose(layer.kernel, state[f"conv{i}.weight"] / 2 ** (i + 1), rtol=1e-4)


def test_norms_of_another_width_and_norms_of_the_input_are_left_out() -> None:
    module = nn.Sequential(
        nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.BatchNorm1d(16), nn.Linear(16, 2)
    )
    with torch.no_grad():
        for norm in (module[0], module[2]):
            norm.running_var.fill_(9.0)
    conv, linear = read_weights(module).layers
    np.testing.assert_array_equal(conv.kernel, module[1].weight.detach())
    np.testing.assert_array_equal(linear.kernel, module[3].weight.detach())


def test_nothing_is_folded_through_a_recurrent_layer() -> None:
    # All of width 6, so that width alone would not tell.
    module = nn.Sequential(nn.Linear(3, 6), nn.RNN(6, 6), nn.BatchNorm1d(6))
    with torch.no_grad():
        module[2].running_var.fill_(9.0)
    linear, _, state = read_weights(module).layers
    np.testing.assert_array_equal(linear.kernel, module[0].weight.detach())
    np.testing.assert_array_equal(state.kernel, module[1].weight_hh_l0.detach())


def test_a_diverged_batch_norm_passes_through_without_warnings() -> None:
    state = random_state(np.random.default_rng(0), conv__weight=(3, 2, 1, 1))
    state["bn.running_mean"] = np.array([0.0, np.nan, np.inf])
    state["bn.running_var"] = np.array([1.0, np.nan, -1.0])
    network = read_weights(state)
    assert not network.is_finite
    assert np.isfinite(network.layers[0].kernel[0]).all()
