"""Train one network of any architecture with autograd and keep its checkpoints."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from accuracy_from_weights.zoo.rebuilding.parameters import is_kernel
from accuracy_from_weights.zoo.rebuilding.torch_modules import PlainModule
from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.trained_network import TrainedNetwork
from accuracy_from_weights.zoo_training.initial_state import initial_state
from accuracy_from_weights.zoo_training.randomness import (
    draw_dropout_bytes,
    dropout_bits,
    order_generator,
)
from accuracy_from_weights.zoo_training.scores import CheckpointKeeper, Scores
from accuracy_from_weights.zoo_training.tasks import PreparedImages, training_images
from accuracy_from_weights.zoo_training.torch_optimisers import StackedOptimiser

_EVALUATION_BATCH = 128
_CHECK_EVERY = 16
_NO_LOG = (float("nan"), float("nan"))


def build_module(recipe: NetworkRecipe, channels: int, size: int, n_classes: int) -> PlainModule:
    """Build a recipe's network with its initial weights."""
    # The initial weights that PyTorch draws are overwritten; nothing else may notice the draw.
    with torch.random.fork_rng(devices=[]):
        module = PlainModule(recipe.architecture, channels, size, n_classes)
    state = initial_state(recipe, channels, size, n_classes)
    module.load_state_dict({n: torch.from_numpy(v) for n, v in state.items()}, strict=False)
    return module


class ModuleTraining:
    """One training run of one network.

    Parameters
    ----------
    recipe : NetworkRecipe
    images : PreparedImages
    device : torch.device
    """

    def __init__(self, recipe: NetworkRecipe, images: PreparedImages, device: torch.device) -> None:
        self._recipe = recipe
        self._device = device
        _, channels, size, _ = images.pool.shape
        self._module = build_module(recipe, channels, size, images.n_classes).to(device)
        indices, labels = training_images(recipe.task, images)
        # Convolutions this small are a third faster with the channels last; names and shapes of
        # the weights stay as they are.
        order = (
            torch.channels_last if recipe.architecture.is_convolutional else torch.contiguous_format
        )
        x, test_x = torch.from_numpy(images.pool[indices]), torch.from_numpy(images.test)
        self._x = x.to(device, memory_format=order)
        self._y = torch.from_numpy(labels).to(device)
        self._test_x = test_x.to(device, memory_format=order)
        self._test_y = torch.from_numpy(images.test_labels).to(device)
        self._steps_at = recipe.checkpoint_steps(len(labels))
        self._weights, self._gradients, decays = _flatten(self._module)
        self._optimiser = StackedOptimiser([recipe], self._weights, decays, self._steps_at[-1])
        self._bits = dropout_bits(recipe.seed)

    def run(self) -> TrainedNetwork:
        """Train to the last checkpoint."""
        start = time.perf_counter()
        keeper = CheckpointKeeper(self._recipe)
        n_train = len(self._y)
        batch, steps = self._recipe.batch_of(n_train), self._recipe.steps_of(n_train)
        orders = order_generator(self._recipe.order_seed)
        order = torch.zeros(0)
        losses: list[Tensor] = []
        hits: list[Tensor] = []
        done = 0
        for target in self._steps_at:
            while done < target and not keeper.diverged:
                if done % steps == 0:
                    order = torch.from_numpy(orders.permutation(n_train)).to(self._device)
                    losses, hits = [], []
                chosen = order[done % steps * batch :][:batch]
                loss, hit = self._step(self._x[chosen], self._y[chosen])
                losses.append(loss)
                hits.append(hit)
                done += 1
                # Not at each step: an accelerator would have to wait for the answer.
                if done % _CHECK_EVERY == 0 and not bool(loss.isfinite()):
                    keeper.diverged = True
            if keeper.diverged:
                break
            log = _NO_LOG
            if done:
                log = torch.stack(hits).mean().item(), torch.stack(losses).mean().item()
            with torch.inference_mode():
                self._module.eval()
                test = self._evaluate(self._test_x, self._test_y)
                train = self._evaluate(self._x, self._y)
                self._module.train()
            keeper.keep(self._state(), Scores(*test, *train, *log))
        return keeper.trained(self._state(), time.perf_counter() - start)

    def _step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step; give the loss and the fraction told right."""
        if self._recipe.dropout_threshold:
            self._module.set_dropout(self._draw_mask)
        logits = self._module(x)
        loss = nn.functional.cross_entropy(logits, y)
        self._gradients.zero_()
        loss.backward()
        with torch.no_grad():
            self._optimiser.step(self._gradients)
        return loss.detach(), (logits.detach().argmax(1) == y).double().mean()

    def _draw_mask(self, shape: torch.Size) -> Tensor:
        threshold = self._recipe.dropout_threshold
        drawn = torch.from_numpy(draw_dropout_bytes(self._bits, shape.numel()))
        kept = drawn.clamp_(threshold - 1, threshold).sub_(threshold - 1)
        return kept.view(shape).float().mul_(256.0 / (256.0 - threshold))

    def _evaluate(self, x: Tensor, y: Tensor) -> tuple[float, float]:
        self._module.set_dropout(None)
        logits = torch.cat([self._module(part) for part in x.split(_EVALUATION_BATCH)])
        accuracy = (logits.argmax(1) == y).double().mean().item()
        return accuracy, nn.functional.cross_entropy(logits, y).item()

    def _state(self) -> dict[str, NDArray[np.float32]]:
        return {
            name: value.cpu().numpy().copy()
            for name, value in self._module.state_dict().items()
            if value.is_floating_point()
        }


def _flatten(module: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    """Move all parameters into one row, so that one call updates them all.

    Returns
    -------
    weights, gradients : Tensor of shape (1, n_parameters)
        The module's parameters and their gradients are views of them from now on.
    decays : Tensor of shape (n_parameters,), bool
        Where L2 and weight decay apply.
    """
    named = list(module.named_parameters())
    with torch.no_grad():
        weights = torch.cat([p.reshape(-1) for _, p in named])[None]
    gradients = torch.zeros_like(weights)
    decays = torch.zeros(weights.shape[1], dtype=torch.bool, device=weights.device)
    start = 0
    for name, parameter in named:
        stop = start + parameter.numel()
        parameter.data = weights[0, start:stop].view(parameter.shape)
        parameter.grad = gradients[0, start:stop].view(parameter.shape)
        decays[start:stop] = is_kernel(name, tuple(parameter.shape))
        start = stop
    return weights, gradients, decays
