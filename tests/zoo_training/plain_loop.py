"""An ordinary training loop with autograd, which the fast builders are compared with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo_training.initial_state import initial_state
from accuracy_from_weights.zoo_training.randomness import (
    dropout_bytes,
    dropout_key,
    epoch_order,
    order_key,
)
from accuracy_from_weights.zoo_training.tasks import prepare_data, training_examples
from accuracy_from_weights.zoo_training.training import ImageData
from tests.zoo_training.blobs import build_module


class PlainNetwork(nn.Module):
    """The paper's network as anyone would write it, dropout from given masks."""

    def __init__(self, recipe: NetworkRecipe, channels: int, n_classes: int) -> None:
        super().__init__()
        widths = (channels, *recipe.architecture.widths)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, recipe.architecture.kernel_size, stride)
            for a, b, stride in zip(
                widths[:-1], widths[1:], recipe.architecture.strides, strict=True
            )
        )
        self.head = nn.Linear(widths[-1], n_classes)
        self.activation = torch.relu if recipe.architecture.activation == "relu" else torch.tanh

    def forward(self, x: Tensor, masks: list[Tensor] | None = None) -> Tensor:
        for i, convolution in enumerate(self.convolutions):
            x = self.activation(convolution(x))
            if masks is not None:
                x = x * masks[i]
        return self.head(x.mean((2, 3)))


class KerasOptimiser(torch.optim.Optimizer):
    """Adam and RMSprop as in Keras' documentation: PyTorch places epsilon elsewhere."""

    def __init__(self, recipe: NetworkRecipe, network: nn.Module) -> None:
        super().__init__(network.parameters(), {"lr": recipe.learning_rate})
        self.rule = recipe.optimizer

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for w in group["params"]:
                kept = self.state[w]
                t = kept["t"] = kept.get("t", 0) + 1
                m, v = kept.get("m", torch.zeros_like(w)), kept.get("v", torch.zeros_like(w))
                if self.rule == "adam":
                    kept["m"] = m = 0.9 * m + 0.1 * w.grad
                    kept["v"] = v = 0.999 * v + 0.001 * w.grad**2
                    rate = group["lr"] * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
                    w -= rate * m / (v.sqrt() + 1e-7)
                else:
                    kept["v"] = v = 0.9 * v + 0.1 * w.grad**2
                    w -= group["lr"] * w.grad / (v + 1e-7).sqrt()


def optimiser_of(recipe: NetworkRecipe, network: nn.Module) -> torch.optim.Optimizer:
    """PyTorch's own optimiser where it is the same as Keras'."""
    if recipe.optimizer in ("sgd", "momentum"):
        momentum = 0.9 if recipe.optimizer == "momentum" else 0.0
        return torch.optim.SGD(network.parameters(), recipe.learning_rate, momentum=momentum)
    return KerasOptimiser(recipe, network)


def train_plainly(recipe: NetworkRecipe, data: ImageData) -> dict[str, np.ndarray]:
    """Train one network to its last checkpoint and give its weights."""
    images = prepare_data(recipe.task, data)
    indices, labels = training_examples(recipe.task, images)
    x, y = torch.from_numpy(images.pool[indices]), torch.from_numpy(labels)
    shapes = {n: tuple(p.shape) for n, p in build_module(recipe).named_parameters()}
    state = initial_state(recipe, shapes)
    names = [name.replace("blocks", "convolutions").replace(".conv", "") for name in state]
    network = PlainNetwork(recipe, x.shape[1], images.n_classes)
    network.load_state_dict(
        {n: torch.from_numpy(v) for n, v in zip(names, state.values(), strict=True)}
    )
    optimiser = optimiser_of(recipe, network)
    batch, steps = recipe.batch_of(len(x)), recipe.steps_of(len(x))
    sides, widths = recipe.architecture.sizes(x.shape[2]), recipe.architecture.widths
    for step in range(recipe.checkpoint_steps(len(x))[-1]):
        if step % steps == 0:
            order = epoch_order(order_key(recipe.order_seed), step // steps, len(x))
            epoch = torch.from_numpy(order)
        chosen = epoch[step % steps * batch :][:batch]
        masks = None
        if recipe.dropout_threshold:
            sizes = [batch * side * side * width for side, width in zip(sides, widths, strict=True)]
            drawn = dropout_bytes(dropout_key(recipe.seed), step, sum(sizes))
            kept = np.split(drawn >= recipe.dropout_threshold, np.cumsum(sizes)[:-1])
            factor = 256 / (256 - recipe.dropout_threshold)
            masks = [
                factor * torch.from_numpy(m).view(batch, side, side, width).permute(0, 3, 1, 2)
                for m, side, width in zip(kept, sides, widths, strict=True)
            ]
        kernels = [p for name, p in network.named_parameters() if name.endswith("weight")]
        loss = nn.functional.cross_entropy(network(x[chosen], masks), y[chosen])
        loss = loss + recipe.l2 * sum((kernel**2).sum() for kernel in kernels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {
        name: p.detach().numpy()
        for name, p in zip(state, network.state_dict().values(), strict=True)
    }
