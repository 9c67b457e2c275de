"""Train a stack of plain convolutional networks and keep their checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo_training import torch_philox
from accuracy_from_weights.zoo_training.checkpoint_keeper import TRAIN_EVALUATED, CheckpointKeeper
from accuracy_from_weights.zoo_training.initial_state import initial_state
from accuracy_from_weights.zoo_training.randomness import epoch_order
from accuracy_from_weights.zoo_training.tasks import PreparedData, training_examples
from accuracy_from_weights.zoo_training.torch_networks import shapes_of
from accuracy_from_weights.zoo_training.torch_replay import Replayed
from accuracy_from_weights.zoo_training.torch_stack_fused import stack_of
from accuracy_from_weights.zoo_training.torch_training import Measured, TorchTraining

# Images that are processed at once, those of all networks counted. On a CPU the buffers then stay
# in its cache; an accelerator is faster the more it gets.
IMAGES_AT_ONCE = {"cpu": 64}
_IMAGES_AT_ONCE_ELSEWHERE = 65_536


@dataclass(frozen=True, eq=False)
class PatchTables:
    """A task's images on the device, as `ConvStack.patch_table` lays them out, and test labels."""

    pool: Tensor
    test: Tensor
    test_labels: Tensor


class StackTraining(TorchTraining):
    """One training run of plain convolutional networks on one task.

    ``tables`` are those of the same images that an earlier group laid out; None lays them out.
    """

    def __init__(
        self,
        recipes: Sequence[NetworkRecipe],
        images: PreparedData,
        tables: PatchTables | None,
        device: torch.device,
    ) -> None:
        k, architecture = len(recipes), recipes[0].architecture
        self._stack = stack_of(architecture, images.form, images.n_classes, k, device)
        self.tables = tables or PatchTables(
            self._stack.patch_table(torch.from_numpy(images.pool)),
            self._stack.patch_table(torch.from_numpy(images.test)),
            torch.from_numpy(images.test_labels).to(device),
        )
        picked = [training_examples(recipe.task, images) for recipe in recipes]
        self._indices, self._labels = (
            torch.from_numpy(np.stack(column)).to(device) for column in zip(*picked, strict=True)
        )
        shapes = shapes_of(architecture, images.form, images.n_classes)
        self._stack.load([initial_state(recipe, shapes) for recipe in recipes])
        self._stack.set_dropout([recipe.dropout_threshold for recipe in recipes])
        n_train, n_dropped = self._labels.shape[1], sum(self._stack.dropout_values)
        super().__init__(recipes, self._stack, n_train, n_dropped, device)
        self._steps = recipes[0].steps_of(n_train)
        self._device_order_keys = self._on_device(self._order_keys)
        shape = (k, self._batch)
        self._step_indices = torch.zeros(shape, dtype=torch.int64, device=device)
        self._step_targets = torch.zeros((*shape, images.n_classes), device=device)
        self._step_logits = torch.zeros_like(self._step_targets)
        at_once = IMAGES_AT_ONCE.get(device.type, _IMAGES_AT_ONCE_ELSEWHERE)
        self._part = min(self._batch, at_once)
        together = max(1, min(k, at_once // self._part))
        self._chunks = [slice(low, min(low + together, k)) for low in range(0, k, together)]
        self._live = self._chunks

    def _train_steps(self, keepers: Sequence[CheckpointKeeper], start: int, stop: int) -> None:
        while start < stop and self._live:
            epoch, within = divmod(start, self._steps)
            if within == 0:
                self._epoch_indices, self._epoch_targets = self._shuffle(epoch)
                self._epoch_logits = torch.empty_like(self._epoch_targets)
            end = min(self._steps, within + stop - start)
            for step in range(within, end):
                self._step_indices.copy_(self._epoch_indices[:, step])
                self._step_targets.copy_(self._epoch_targets[:, step])
                self._repeat()
                self._epoch_logits[:, step] = self._step_logits
            start += end - within
            self._drop_diverged()

    def _shuffle(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Draw the order of an epoch: images and one-hot labels, (k, steps, batch, ...)."""
        n_train = self._labels.shape[1]
        if self._device.type == "cpu":
            orders = [epoch_order(key, epoch, n_train) for key in self._order_keys]
            order = torch.from_numpy(np.stack(orders))
        else:
            order = torch_philox.epoch_orders(self._device_order_keys, epoch, n_train)
        order = order[:, : self._steps * self._batch]
        shape = (len(order), self._steps, self._batch)
        indices = self._indices.gather(1, order).view(shape)
        labels = self._labels.gather(1, order).view(shape)
        return indices, self._one_hot(labels)

    def _one_hot(self, labels: Tensor) -> Tensor:
        return torch.eye(self._stack.n_classes, device=self._device)[labels]

    def _train_step(self) -> None:
        stack, batch = self._stack, self._batch
        stack.prepare(training=True)
        if self._n_dropped:
            self._draw_dropout()
        for rows in self._live:
            for start in range(0, batch, self._part):
                part = slice(start, min(start + self._part, batch))
                first = stack.gather(rows, self.tables.pool, self._step_indices[rows, part])
                kept = self._kept_of(rows, part) if self._n_dropped else None
                self._step_logits[rows, part] = stack.forward(rows, first, kept)
                targets = self._step_targets[rows, part]
                stack.backward(rows, first, targets, kept is not None, 1.0 / batch, start > 0)
        stack.finish_gradients()
        self._optimiser.step(stack.gradients)
        self._at += 1

    def _drop_diverged(self) -> None:
        """Stop training the chunks of networks in which none has finite weights."""
        is_finite = self._stack.weights.isfinite().all(1).cpu()
        live = [rows for rows in self._live if bool(is_finite[rows].any())]
        if len(live) < len(self._live):
            self._live = live
            self._repeat = Replayed(self._train_step, self._device)

    def _kept_of(self, rows: slice, part: slice) -> list[Tensor]:
        """Return what dropout keeps in a part of the mini-batch, layer by layer."""
        kept = []
        offset = 0
        for n in self._stack.dropout_values:
            kept.append(self._kept[rows, offset + part.start * n : offset + part.stop * n])
            offset += self._batch * n
        return kept

    def _log(self, done: int) -> Measured:
        seen = slice((done - 1) % self._steps + 1)
        logits, targets = self._epoch_logits[:, seen], self._epoch_targets[:, seen]
        return _accuracy_and_loss(logits.flatten(1, 2), targets.flatten(1, 2))

    def _evaluated(self) -> tuple[Measured, Measured]:
        indices, labels = self._indices[:, :TRAIN_EVALUATED], self._labels[:, :TRAIN_EVALUATED]
        return (
            self._evaluate(self.tables.test, None, self.tables.test_labels),
            self._evaluate(self.tables.pool, indices, labels),
        )

    def _evaluate(self, table: Tensor, indices: Tensor | None, labels: Tensor) -> Measured:
        """Evaluate each network on its own images, or on all those of a table."""
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
        return _accuracy_and_loss(logits, self._one_hot(labels))


def _accuracy_and_loss(logits: Tensor, targets: Tensor) -> Measured:
    """Return each network's accuracy and mean cross-entropy in nats, from (k, n, classes)."""
    losses = -(torch.log_softmax(logits, -1) * targets).sum(-1).mean(-1)
    right = logits.argmax(-1) == targets.argmax(-1)
    accuracies = right.double().mean(-1)
    return list(zip(accuracies.tolist(), losses.tolist(), strict=True))
