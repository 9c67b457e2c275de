"""Train a stack of plain convolutional networks and keep their checkpoints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.trained_network import Scores, TrainedNetwork
from accuracy_from_weights.zoo_training import torch_philox
from accuracy_from_weights.zoo_training.checkpoint_keeper import TRAIN_EVALUATED, CheckpointKeeper
from accuracy_from_weights.zoo_training.initial_state import initial_state
from accuracy_from_weights.zoo_training.randomness import (
    dropout_bytes,
    dropout_key,
    epoch_order,
    order_key,
)
from accuracy_from_weights.zoo_training.tasks import PreparedData, training_examples
from accuracy_from_weights.zoo_training.torch_optimisers import StackedOptimiser
from accuracy_from_weights.zoo_training.torch_replay import Replayed
from accuracy_from_weights.zoo_training.torch_stack_fused import stack_of

# Images that are processed at once, those of all networks counted. On a CPU the buffers then stay
# in its cache; an accelerator is faster the more it gets.
IMAGES_AT_ONCE = {"cpu": 64}
_IMAGES_AT_ONCE_ELSEWHERE = 65_536


@dataclass(frozen=True, eq=False)
class PatchTables:
    """A task's images on the device, laid out as the stack takes them.

    Attributes
    ----------
    pool, test : Tensor
        As `ConvStack.patch_table` returns them.
    test_labels : Tensor of shape (n,), int64
    """

    pool: Tensor
    test: Tensor
    test_labels: Tensor


class StackTraining:
    """One training run of several networks of one architecture and one schedule.

    Parameters
    ----------
    recipes : sequence of NetworkRecipe
        Of one `torch_backend.group_key`; those of one optimiser stand next to each other.
    images : PreparedData
    tables : PatchTables or None
        Of the same images, laid out for an earlier group; None lays them out.
    device : torch.device
    """

    def __init__(
        self,
        recipes: Sequence[NetworkRecipe],
        images: PreparedData,
        tables: PatchTables | None,
        device: torch.device,
    ) -> None:
        self._recipes = recipes
        self._device = device
        first = recipes[0]
        k = len(recipes)
        self._stack = stack_of(first.architecture, images.form, images.n_classes, k, device)
        self.tables = tables or PatchTables(
            self._stack.patch_table(torch.from_numpy(images.pool)),
            self._stack.patch_table(torch.from_numpy(images.test)),
            torch.from_numpy(images.test_labels).to(device),
        )
        picked = [training_examples(recipe.task, images) for recipe in recipes]
        self._indices = torch.from_numpy(np.stack([p[0] for p in picked])).to(device)
        self._labels = torch.from_numpy(np.stack([p[1] for p in picked])).to(device)
        n_train = self._labels.shape[1]
        self._batch = first.batch_of(n_train)
        self._steps = first.steps_of(n_train)
        self._checkpoint_steps = first.checkpoint_steps(n_train)
        shapes = self._stack.shapes()
        self._stack.load([initial_state(recipe, shapes) for recipe in recipes])
        self._stack.set_dropout([r.dropout_threshold for r in recipes])
        self._optimiser = StackedOptimiser(
            recipes, self._stack.weights, self._stack.is_kernel, self._checkpoint_steps[-1]
        )
        self._order_keys = [order_key(recipe.order_seed) for recipe in recipes]
        self._dropout_keys = [dropout_key(recipe.seed) for recipe in recipes]
        thresholds = [recipe.dropout_threshold for recipe in recipes]
        self._any_dropout = any(thresholds)
        self._device_dropout_keys = self._on_device(self._dropout_keys)
        self._device_order_keys = self._on_device(self._order_keys)
        self._thresholds = torch.tensor(thresholds, dtype=torch.uint8, device=device)[:, None]
        n_kept = torch_philox.padded_bytes(self._batch * sum(self._stack.dropout_values))
        self._kept = torch.ones((k, n_kept), dtype=torch.uint8, device=device)
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        shape = (k, self._batch)
        self._step_indices = torch.zeros(shape, dtype=torch.int64, device=device)
        self._step_targets = torch.zeros((*shape, images.n_classes), device=device)
        self._step_logits = torch.zeros_like(self._step_targets)
        at_once = IMAGES_AT_ONCE.get(device.type, _IMAGES_AT_ONCE_ELSEWHERE)
        self._part = min(self._batch, at_once)
        together = max(1, min(k, at_once // self._part))
        self._chunks = [slice(low, min(low + together, k)) for low in range(0, k, together)]
        self._live = self._chunks
        self._repeat = Replayed(self._train_step, device)

    def _on_device(self, keys: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(keys).view(np.int64)).to(self._device)

    def run(self) -> list[TrainedNetwork]:
        """Train to the last checkpoint."""
        start = time.perf_counter()
        keepers = [CheckpointKeeper(recipe) for recipe in self._recipes]
        done = 0
        logits = torch.zeros(0)
        targets = torch.zeros(0)
        for target in self._checkpoint_steps:
            while done < target and self._live:
                within = done % self._steps
                if within == 0:
                    indices, targets = self._shuffle(done // self._steps)
                    logits = torch.empty_like(targets)
                stop = min(self._steps, within + target - done)
                for step in range(within, stop):
                    self._step_indices.copy_(indices[:, step])
                    self._step_targets.copy_(targets[:, step])
                    self._repeat()
                    logits[:, step] = self._step_logits
                    done += 1
                self._drop_diverged()
            log = self._log(logits, targets, done)
            self._keep(keepers, log)
        seconds = (time.perf_counter() - start) / len(self._recipes)
        states = self._stack.states()
        return [
            keeper.trained(state, seconds) for keeper, state in zip(keepers, states, strict=True)
        ]

    def _shuffle(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Draw the order of an epoch: images and one-hot labels, (k, steps, batch, ...)."""
        n_train = self._labels.shape[1]
        n_used = self._steps * self._batch
        if self._device.type == "cpu":
            orders = [epoch_order(key, epoch, n_train) for key in self._order_keys]
            order = torch.from_numpy(np.stack(orders))
        else:
            order = torch_philox.epoch_orders(self._device_order_keys, epoch, n_train)
        order = order[:, :n_used]
        shape = (len(order), self._steps, self._batch)
        indices = self._indices.gather(1, order).view(shape)
        labels = self._labels.gather(1, order).view(shape)
        classes = torch.eye(self._stack.n_classes, device=self._device)
        return indices, classes[labels]

    def _train_step(self) -> None:
        stack, batch = self._stack, self._batch
        stack.prepare(training=True)
        if self._any_dropout:
            self._draw_dropout()
        for rows in self._live:
            for start in range(0, batch, self._part):
                part = slice(start, min(start + self._part, batch))
                first = stack.gather(rows, self.tables.pool, self._step_indices[rows, part])
                kept = self._kept_of(rows, part) if self._any_dropout else None
                self._step_logits[rows, part] = stack.forward(rows, first, kept)
                targets = self._step_targets[rows, part]
                stack.backward(rows, first, targets, kept is not None, 1.0 / batch, start > 0)
        stack.finish_gradients()
        self._optimiser.step(stack.gradients)
        self._step += 1

    def _drop_diverged(self) -> None:
        """Stop training the chunks of networks in which none has finite weights."""
        is_finite = self._stack.weights.isfinite().all(1).cpu()
        live = [rows for rows in self._live if bool(is_finite[rows].any())]
        if len(live) < len(self._live):
            self._live = live
            self._repeat = Replayed(self._train_step, self._device)

    def _draw_dropout(self) -> None:
        """Draw which values dropout keeps in this step: 1 for those that it keeps, else 0."""
        if self._device.type != "cpu":
            keys = self._device_dropout_keys
            torch_philox.draw_kept(keys, self._thresholds, self._step, self._kept)
            return
        n, step = self._kept.shape[1], int(self._step)
        for row, (recipe, key) in enumerate(zip(self._recipes, self._dropout_keys, strict=True)):
            threshold = recipe.dropout_threshold
            if threshold:
                drawn = torch.from_numpy(dropout_bytes(key, step, n))
                # 0 below the threshold and 1 from it on; comparing would be ten times slower.
                torch.sub(
                    drawn.clamp_(threshold - 1, threshold), threshold - 1, out=self._kept[row]
                )

    def _kept_of(self, rows: slice, part: slice) -> list[Tensor]:
        """Return what dropout keeps in a part of the mini-batch, layer by layer."""
        kept = []
        offset = 0
        for n in self._stack.dropout_values:
            kept.append(self._kept[rows, offset + part.start * n : offset + part.stop * n])
            offset += self._batch * n
        return kept

    def _log(self, logits: Tensor, targets: Tensor, done: int) -> list[tuple[float, float]]:
        """Return accuracy and loss in nats over the epoch that ends here, or its part so far."""
        if done == 0:
            return [(float("nan"), float("nan"))] * len(self._recipes)
        stop = (done - 1) % self._steps + 1
        return _accuracy_and_loss(logits[:, :stop].flatten(1, 2), targets[:, :stop].flatten(1, 2))

    def _keep(
        self, keepers: Sequence[CheckpointKeeper], log: Sequence[tuple[float, float]]
    ) -> None:
        test = self._evaluate(self.tables.test, None, self.tables.test_labels)
        indices, labels = self._indices[:, :TRAIN_EVALUATED], self._labels[:, :TRAIN_EVALUATED]
        train = self._evaluate(self.tables.pool, indices, labels)
        for row, (keeper, state) in enumerate(zip(keepers, self._stack.states(), strict=True)):
            keeper.keep(state, Scores(*test[row], *train[row], *log[row]))

    def _evaluate(
        self, table: Tensor, indices: Tensor | None, labels: Tensor
    ) -> list[tuple[float, float]]:
        """Return each network's accuracy and loss on its own images, or on all those of a table."""
        stack = self._stack
        stack.prepare(training=False)
        n = labels.shape[-1]
        labels = labels.expand(len(self._recipes), n)
        logits = torch.empty((len(self._recipes), n, stack.n_classes), device=self._device)
        for rows in self._chunks:
            k = rows.stop - rows.start
            step = max(1, IMAGES_AT_ONCE.get(self._device.type, _IMAGES_AT_ONCE_ELSEWHERE) // k)
            for start in range(0, n, step):
                part = slice(start, min(start + step, n))
                if indices is not None:
                    first = stack.gather(rows, table, indices[rows, part])
                else:
                    first = stack.share(table[part], k)
                logits[rows, part] = stack.forward(rows, first, None)
        classes = torch.eye(stack.n_classes, device=self._device)
        return _accuracy_and_loss(logits, classes[labels])


def _accuracy_and_loss(logits: Tensor, targets: Tensor) -> list[tuple[float, float]]:
    """Return each network's accuracy and mean cross-entropy in nats, from (k, n, classes)."""
    losses = -(torch.log_softmax(logits, -1) * targets).sum(-1).mean(-1)
    right = logits.argmax(-1) == targets.argmax(-1)
    accuracies = right.double().mean(-1)
    return list(zip(accuracies.tolist(), losses.tolist(), strict=True))
