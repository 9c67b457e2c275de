"""Train networks of one architecture with autograd, one or many at once, and keep checkpoints."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo_training.checkpoint_keeper import TRAIN_EVALUATED, CheckpointKeeper
from accuracy_from_weights.zoo_training.randomness import epoch_order
from accuracy_from_weights.zoo_training.tasks import PreparedData, training_examples
from accuracy_from_weights.zoo_training.torch_networks import TorchNetworks
from accuracy_from_weights.zoo_training.torch_training import Measured, TorchTraining

_CHECK_EVERY = 16
# Examples, of all networks together, that are evaluated at once.
_EVALUATED_AT_ONCE = {"cpu": 256}
_EVALUATED_AT_ONCE_ELSEWHERE = 32_768


class VmapTraining(TorchTraining):
    """One training run of networks of any kind; each has its own task and schedule.

    There is a task for each recipe; networks on one task share the object.
    """

    def __init__(
        self,
        recipes: Sequence[NetworkRecipe],
        tasks: Sequence[PreparedData],
        device: torch.device,
    ) -> None:
        self._networks = TorchNetworks(recipes, device)
        drops = any(recipe.dropout_threshold for recipe in recipes)
        self._shapes = self._networks.dropout_shapes(2) if drops else []
        picked = [training_examples(r.task, t) for r, t in zip(recipes, tasks, strict=True)]
        self._n_train = [len(labels) for _, labels in picked]
        n_dropped = sum(map(math.prod, self._shapes))
        super().__init__(recipes, self._networks, self._n_train[0], n_dropped, device)
        self._epoch_steps = [r.steps_of(n) for r, n in zip(recipes, self._n_train, strict=True)]
        self._pool, first_rows = self._gather([task.pool for task in tasks])
        self._rows = [rows + first for (rows, _), first in zip(picked, first_rows, strict=True)]
        self._labels = [labels for _, labels in picked]
        self._test_x, first_rows = self._gather([task.test for task in tasks])
        test_rows = [
            np.arange(len(t.test)) + first for t, first in zip(tasks, first_rows, strict=True)
        ]
        self._test = self._padded(test_rows, [task.test_labels for task in tasks])
        self._train = self._padded(
            [rows[:TRAIN_EVALUATED] for rows in self._rows],
            [labels[:TRAIN_EVALUATED] for labels in self._labels],
        )
        shape = (len(recipes), max(self._steps_at[-1], 1))
        self._losses = torch.zeros(shape, device=device)
        self._hits = torch.zeros(shape, device=device)
        self._step_rows = torch.zeros((len(recipes), self._batch), dtype=torch.int64, device=device)
        self._step_labels = torch.zeros_like(self._step_rows)
        self._scales = 256.0 / (256.0 - self._thresholds.float())

    # -- data --------------------------------------------------------------------------------

    def _gather(self, parts: Sequence[np.ndarray]) -> tuple[Tensor, list[int]]:
        """Put the examples of all tasks on the device; return them, and each task's first row."""
        places: dict[int, int] = {}
        arrays = []
        n = 0
        for part in parts:
            if id(part) not in places:
                places[id(part)] = n
                n += len(part)
                shape = self._networks.form.shape
                filling = [(0, w - h) for w, h in zip(shape, part.shape[1:], strict=True)]
                arrays.append(np.pad(part, [(0, 0), *filling]) if any(map(sum, filling)) else part)
        together = torch.from_numpy(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))
        alone = self._recipes[0].architecture if len(self._recipes) == 1 else None
        if self._networks.form.kind == "image" and alone and alone.is_convolutional:
            # Small convolutions on a CPU gain a third.
            together = together.to(memory_format=torch.channels_last)
        return together.to(self._device), [places[id(part)] for part in parts]

    def _padded(
        self, rows: Sequence[np.ndarray], labels: Sequence[np.ndarray]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pad all networks' rows and labels to one length; return them and which are no padding."""
        longest = max(map(len, rows))
        shape = (len(rows), longest)
        filled = np.zeros((2, *shape), np.int64)
        counts = np.zeros(shape, bool)
        for k, (row, label) in enumerate(zip(rows, labels, strict=True)):
            filled[:, k, : len(row)] = row, label
            counts[k, : len(row)] = True
        rows_, labels_ = torch.from_numpy(filled).to(self._device)
        return rows_, labels_, torch.from_numpy(counts).to(self._device)

    def _batches(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return rows of the pool and labels of steps ``start`` to ``stop``: (k, steps, batch)."""
        shape = (len(self._recipes), stop - start, self._batch)
        rows, labels = np.empty(shape, np.int64), np.empty(shape, np.int64)
        for k, (key, steps) in enumerate(zip(self._order_keys, self._epoch_steps, strict=True)):
            step = start
            while step < stop:
                epoch, within = divmod(step, steps)
                n = min(steps - within, stop - step)
                order = epoch_order(key, epoch, self._n_train[k])
                chosen = order[within * self._batch : (within + n) * self._batch]
                place = slice(step - start, step - start + n)
                rows[k, place] = self._rows[k][chosen].reshape(n, self._batch)
                labels[k, place] = self._labels[k][chosen].reshape(n, self._batch)
                step += n
        return torch.from_numpy(rows).to(self._device), torch.from_numpy(labels).to(self._device)

    # -- dropout -----------------------------------------------------------------------------

    def _masks(self) -> list[Tensor]:
        """Draw dropout's factors in one step, 0 or 1 / (1 - rate): a tensor for each place."""
        if not self._shapes:
            return []
        self._draw_dropout()
        factors = self._kept.float().mul_(self._scales)
        masks, start = [], 0
        for shape in self._shapes:
            stop = start + self._batch * math.prod(shape)
            # Bytes of images stand by place and then channel, as the values lie in memory.
            order = (*shape[1:], shape[0]) if len(shape) == 3 else shape
            mask = factors[:, start:stop].unflatten(1, (self._batch, *order))
            masks.append(mask.movedim(-1, 2) if len(shape) == 3 else mask)
            start = stop
        return masks

    # -- training ----------------------------------------------------------------------------

    def _train_steps(self, keepers: Sequence[CheckpointKeeper], start: int, stop: int) -> None:
        if all(keeper.diverged for keeper in keepers):
            return
        rows, labels = self._batches(start, stop)
        self._networks.train()
        with warnings.catch_warnings():
            # A network's weights are a part of a matrix's row, so they are not dense in memory.
            warnings.filterwarnings("ignore", "grad and param do not obey", UserWarning)
            for step in range(start, stop):
                self._step_rows.copy_(rows[:, step - start])
                self._step_labels.copy_(labels[:, step - start])
                self._repeat()
                # Not at each step: an accelerator would have to wait for the answer.
                if step % _CHECK_EVERY == _CHECK_EVERY - 1 and not bool(
                    self._losses[:, step].isfinite().any()
                ):
                    break
        for keeper, finite in zip(keepers, self._losses[:, step].isfinite().tolist(), strict=True):
            keeper.diverged = keeper.diverged or not finite

    def _train_step(self) -> None:
        """Take one step, and note each network's loss in nats and accuracy on the mini-batch."""
        labels = self._step_labels
        logits = self._networks.logits(self._take(self._pool, self._step_rows), self._masks())
        losses = nn.functional.cross_entropy(logits.mT, labels, reduction="none").mean(1)
        self._networks.gradients.zero_()
        losses.sum().backward()
        with torch.no_grad():
            self._optimiser.step(self._networks.gradients)
            hits = (logits.argmax(2) == labels).float().mean(1)
            self._losses.index_copy_(1, self._at, losses[:, None])
            self._hits.index_copy_(1, self._at, hits[:, None])
            self._at += 1

    def _take(self, x: Tensor, rows: Tensor) -> Tensor:
        if len(rows) == 1:
            return x[rows[0]].unsqueeze(0)
        return x[rows]

    # -- measuring ---------------------------------------------------------------------------

    def _log(self, done: int) -> Measured:
        log = []
        hits, losses = self._hits.cpu().double(), self._losses.cpu().double()
        for row, steps in enumerate(self._epoch_steps):
            epoch = slice((done - 1) // steps * steps, done)
            log.append((hits[row, epoch].mean().item(), losses[row, epoch].mean().item()))
        return log

    def _evaluated(self) -> tuple[Measured, Measured]:
        return (
            self._evaluate(self._test_x, *self._test),
            self._evaluate(self._pool, *self._train),
        )

    def _evaluate(self, x: Tensor, rows: Tensor, labels: Tensor, counts: Tensor) -> Measured:
        """Evaluate each network on its own examples."""
        self._networks.train(False)
        at_once = _EVALUATED_AT_ONCE.get(self._device.type, _EVALUATED_AT_ONCE_ELSEWHERE)
        some = max(1, at_once // len(self._recipes))
        hits = torch.zeros(len(rows), dtype=torch.float64, device=self._device)
        losses = torch.zeros_like(hits)
        with torch.inference_mode():
            for part in torch.arange(rows.shape[1]).split(some):
                places = slice(int(part[0]), int(part[-1]) + 1)
                logits = self._networks.logits(self._take(x, rows[:, places]))
                loss = nn.functional.cross_entropy(logits.mT, labels[:, places], reduction="none")
                counted = counts[:, places]
                losses += torch.where(counted, loss, 0.0).sum(1, dtype=torch.float64)
                hits += ((logits.argmax(2) == labels[:, places]) & counted).sum(1)
            n = counts.sum(1)
            return list(zip((hits / n).tolist(), (losses / n).tolist(), strict=True))
