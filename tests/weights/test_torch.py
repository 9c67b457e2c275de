"""PyTorch modules and state dicts."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from safetensors.torch import save_model
from torch import nn
from torch.nn.utils import parametrizations, prune

from accuracy_from_weights.errors import UnsupportedModelError
from accuracy_from_weights.weights import read_weights
from tests.weights.comparing import assert_same_layers


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


class Wrapper(lightning.LightningModule):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.loss = nn.CrossEntropyLoss(weight=torch.ones(2))


@pytest.mark.parametrize(
    "wrap",
    [
        torch.compile,
        nn.DataParallel,
        lambda module: nn.DataParallel(torch.compile(module)),
        Wrapper,
        lambda module: nn.Sequential(OrderedDict(model=torch.compile(module))),
        lambda module: torch.optim.swa_utils.AveragedModel(module),
    ],
    ids=["compiled", "parallel", "parallel of compiled", "lightning", "inside", "averaged"],
)
def test_wrapped_modules_and_their_state_dicts_read_as_what_they_wrap(wrap: object) -> None:
    module = small()
    wrapped = wrap(module)  # type: ignore[operator]
    for source in (wrapped, wrapped.state_dict()):
        network = read_weights(source)
        assert_same_layers(network, read_weights(module))
        assert [layer.name for layer in network.layers] == ["0", "3"]


def test_hints_of_a_module_reach_through_wrappers() -> None:
    # Four channels in and out and no bias: nothing but the module tells that it is transposed.
    module = nn.Sequential(nn.ConvTranspose2d(4, 4, 3, bias=False))
    for source in (module, torch.compile(module), nn.DataParallel(module), Wrapper(module)):
        layer = read_weights(source).layers[0]
        assert layer.kind == "transposed_conv"
        np.testing.assert_array_equal(
            layer.kernel, module[0].weight.detach().numpy().swapaxes(0, 1)
        )


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_transposed_convolutions_are_linear_maps_of_their_kernel(groups: int) -> None:
    module = nn.ConvTranspose2d(4, 8, 1, groups=groups)
    layer = read_weights(module).layers[0]
    assert layer.kernel.shape == (8, 4 // groups, 1, 1)
    inputs = torch.randn(1, 4, 5, 5)
    # With kernels of one pixel a transposed convolution is an ordinary one.
    kernel, bias = torch.from_numpy(layer.kernel.copy()), torch.from_numpy(layer.bias.copy())
    with torch.no_grad():
        expected = module(inputs)
    torch.testing.assert_close(torch.conv2d(inputs, kernel, bias, groups=groups), expected)


def test_a_bias_or_a_name_tells_a_transposed_convolution_in_a_state_dict() -> None:
    with_bias = nn.Sequential(nn.ConvTranspose2d(6, 4, 3))
    assert_same_layers(read_weights(with_bias.state_dict()), read_weights(with_bias))
    named = nn.Sequential(OrderedDict(deconv1=nn.ConvTranspose2d(4, 4, 3, bias=False)))
    assert_same_layers(read_weights(named.state_dict()), read_weights(named))


def test_one_input_channel_is_not_depthwise() -> None:
    module = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Conv2d(6, 12, 3, groups=6), nn.Conv2d(12, 4, 1))
    for source in (module, module.state_dict()):
        kinds = [layer.kind for layer in read_weights(source).layers]
        assert kinds == ["conv", "depthwise_conv", "conv"]


@pytest.mark.parametrize(
    "computed",
    [
        lambda layer: parametrizations.weight_norm(layer),
        lambda layer: parametrizations.spectral_norm(layer),
        lambda layer: nn.utils.weight_norm(layer),
        lambda layer: nn.utils.spectral_norm(layer),
        lambda layer: prune.random_unstructured(layer, "weight", amount=0.5),
    ],
    ids=["weight norm", "spectral norm", "older weight norm", "older spectral norm", "pruned"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("make", [lambda: nn.Linear(5, 4), lambda: nn.ConvTranspose2d(5, 3, 2)])
def test_computed_weights_are_what_the_network_feels(computed: object, make: object) -> None:
    torch.manual_seed(0)
    layer = computed(make()).eval()  # type: ignore[operator]
    shape = (1, 5) if isinstance(layer, nn.Linear) else (1, 5, 2, 2)
    layer(torch.randn(shape))  # the older kinds compute the weight when they are called
    weight = layer.weight.detach().numpy()
    expected = weight if isinstance(layer, nn.Linear) else weight.swapaxes(0, 1)
    network = read_weights(layer)
    np.testing.assert_allclose(network.layers[0].kernel, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(network.layers[0].bias, layer.bias.detach())
    assert_same_layers(read_weights(nn.Sequential(layer)), network)


def test_attention_with_keys_of_another_width_and_fused_projections() -> None:
    attention = nn.MultiheadAttention(8, 2, kdim=3, vdim=5)
    shapes = [layer.kernel.shape for layer in read_weights(attention).layers]
    assert shapes == [(8, 8), (8, 3), (8, 5), (8, 8)]
    state = {"block.attn.qkv.weight": np.ones((12, 4)), "block.attn.proj.weight": np.ones((4, 4))}
    layers = read_weights(state).layers
    assert [layer.name.rpartition(".")[2] for layer in layers[:3]] == ["query", "key", "value"]
    assert all(layer.kernel.shape == (4, 4) for layer in layers)


def test_kinds_by_names_alone() -> None:
    state = {
        "embed_tokens.weight": np.ones((10, 4)),
        "pos_embed": np.ones((1, 7, 4)),
        "self_attn.q_proj.weight": np.ones((4, 4)),
        "self_attn.out_proj.weight": np.ones((4, 4)),
        "mlp.out.weight": np.ones((4, 4)),
        "rnn.weight_ih_l0": np.ones((4, 4)),
        "rnn.weight_hh_l0": np.ones((4, 4)),
        "rnn.bias_ih_l0": np.ones(4),
        "rnn.bias_hh_l0": np.ones(4),
    }
    network = read_weights(state)
    assert [(layer.kind, layer.kernel.shape) for layer in network.layers] == [
        ("embedding", (4, 10)),
        ("embedding", (4, 7)),
        ("attention", (4, 4)),
        ("attention", (4, 4)),
        ("dense", (4, 4)),
        ("recurrent", (4, 4)),
        ("recurrent", (4, 4)),
    ]
    np.testing.assert_array_equal(network.layers[5].bias, np.full(4, 2.0))


def test_what_is_no_weight_is_skipped() -> None:
    module = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.PReLU(4), nn.PReLU(), nn.LayerNorm([2, 2])
    )
    module.register_buffer("position_ids", torch.arange(12).reshape(1, 12))
    module.register_buffer("causal_mask", torch.ones(5, 5))
    module.register_parameter("logit_scale", nn.Parameter(torch.tensor(2.0)))
    module.register_parameter("temperature", nn.Parameter(torch.ones(1)))
    module.register_buffer("freqs_cis", torch.ones(3, 3, dtype=torch.complex64))
    layers = read_weights(module).layers
    assert [layer.name for layer in layers] == ["0"]
    assert layers[0].norm_scale is None


def test_a_checkpoint_is_searched_for_its_state_dict() -> None:
    module = small()
    state = module.state_dict()
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.randn(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    for checkpoint in (
        {"model": state, "optimizer": optimizer.state_dict(), "epoch": 3},
        {"optimizer_state_dict": optimizer.state_dict(), "model_state_dict": state},
        {"state_dict": {f"model.{k}": v for k, v in state.items()}, "hyper_parameters": {"a": 1}},
        {"checkpoint": {"module": state}, "lr_schedulers": []},
        {"generator": state, "epoch": 1, "optimizer_g": optimizer.state_dict()},
    ):
        assert_same_layers(read_weights(checkpoint), read_weights(module))


def test_tensors_without_values_are_refused_in_one_sentence() -> None:
    with torch.device("meta"):
        meta = nn.Linear(3, 2)
    lazy = nn.LazyLinear(3)
    sharded = nn.Linear(3, 2)
    sharded.weight.ds_id = 0  # how DeepSpeed marks what lies elsewhere

    class FullyShardedDataParallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 2)

    for source, words in (
        (meta, "meta device"),
        (lazy, "run one batch"),
        (sharded, "gather a full state dict"),
        (nn.Sequential(FullyShardedDataParallel()), "gather a full state dict"),
        (meta.state_dict(), "meta device"),
    ):
        with pytest.raises(UnsupportedModelError, match=words) as caught:
            read_weights(source)
        assert "\n" not in str(caught.value)


def test_distributed_tensors_are_refused() -> None:
    from torch.distributed import destroy_process_group, init_process_group
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        state = {"fc.weight": distribute_tensor(torch.ones(4, 3), mesh, [Shard(0)])}
        with pytest.raises(UnsupportedModelError, match="gather a full state dict"):
            read_weights(state)
    finally:
        destroy_process_group()


def test_sparse_and_quantised_tensors() -> None:
    dense = torch.tensor([[0.0, 2.0], [0.5, 0.0]])
    quantised = torch.quantize_per_tensor(dense, 0.5, 0, torch.qint8)
    for tensor in (dense.to_sparse(), dense.to_sparse_csr(), quantised):
        layer = read_weights({"fc.weight": tensor}).layers[0]
        np.testing.assert_array_equal(layer.kernel, dense)


def test_tied_weights_are_read_once(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(9, 6)
            self.encoder = nn.ModuleDict({"embed": self.embedding, "fc": nn.Linear(6, 8)})
            self.head = nn.Linear(8, 3)
            self.same = self.encoder  # one module under two names, not two networks

    module = Tied()
    torch.save(module.state_dict(), tmp_path / "model.pt")
    save_model(module, str(tmp_path / "model.safetensors"))
    for source in (module, module.state_dict(), tmp_path / "model.pt"):
        assert [layer.shape for layer in read_weights(source).layers] == [(6, 9), (8, 6), (3, 8)]
    stored = read_weights(tmp_path / "model.safetensors")
    assert_same_layers(stored, read_weights(module))


def test_nothing_to_read() -> None:
    for source in (nn.ReLU(), nn.BatchNorm2d(3), {}, {"a": {"b": 3}}, {"bias": np.ones(3)}):
        with pytest.raises(UnsupportedModelError, match="no layer with a kernel"):
            read_weights(source)
    for source in (None, 3, [1, 2], object(), np.ones((2, 2)), torch.ones(2, 2)):
        with pytest.raises(UnsupportedModelError, match="n object of type"):
            read_weights(source)
