"""Train networks of one architecture with autograd, one or many at once, and keep checkpoints."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from accuracy_from_weights.zoo.recipes.recipe import NetworkRecipe
from accuracy_from_weights.zoo.trained_network import Scores, TrainedNetwork
from accuracy_from_weights.zoo_training import torch_philox
from accuracy_from_weights.zoo_training.checkpoint_keeper import TRAIN_EVALUATED, CheckpointKeeper
from accuracy_from_weights.zoo_training.randomness import (
    dropout_bytes,
    dropout_key,
    epoch_order,
    order_key,
)
from accuracy_from_weights.zoo_training.tasks import PreparedData, training_examples
from accuracy_from_weights.zoo_training.torch_networks import TorchNetworks
from accuracy_from_weights.zoo_training.torch_optimisers import StackedOptimiser
from accuracy_from_weights.zoo_training.torch_replay import Replayed

_CHECK_EVERY = 16
# Examples, of all networks together, that are evaluated at once.
_EVALUATED_AT_ONCE = {"cpu": 256}
_EVALUATED_AT_ONCE_ELSEWHERE = 32_768


class VmapTraining:
    """One training run of networks that share architecture, batch size and steps.

    Each has its own task, hyperparameters and schedule.

    Parameters
    ----------
    recipes : sequence of NetworkRecipe
        Of one `torch_backend.group_key`; those of one optimiser stand next to each other.
    tasks : sequence of PreparedData
        One for each recipe; networks on one task share the object.
    device : torch.device
    """

    def __init__(
        self,
        recipes: Sequence[NetworkRecipe],
        tasks: Sequence[PreparedData],
        device: torch.device,
    ) -> None:
        self._recipes = recipes
        self._device = device
        self._networks = networks = TorchNetworks(recipes, device)
        picked = [training_examples(r.task, t) for r, t in zip(recipes, tasks, strict=True)]
        self._n_train = [len(labels) for _, labels in picked]
        self._batch = recipes[0].batch_of(self._n_train[0])
        self._epoch_steps = [r.steps_of(n) for r, n in zip(recipes, self._n_train, strict=True)]
        self._steps_at = recipes[0].checkpoint_steps(self._n_train[0])
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
        self._optimiser = StackedOptimiser(
            recipes, networks.weights, networks.is_kernel, self._steps_at[-1]
        )
        shape = (len(recipes), max(self._steps_at[-1], 1))
        self._losses = torch.zeros(shape, device=device)
        self._hits = torch.zeros(shape, device=device)
        self._order_keys = [order_key(recipe.order_seed) for recipe in recipes]
        self._at = torch.zeros(1, dtype=torch.int64, device=device)
        self._step_rows = torch.zeros((len(recipes), self._batch), dtype=torch.int64, device=device)
        self._step_labels = torch.zeros_like(self._step_rows)
        self._repeat = Replayed(self._step, device)
        self._prepare_dropout()

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
                filling = [
                    (0, w - h) for w, h in zip(self._form_shape, part.shape[1:], strict=True)
                ]
                arrays.append(np.pad(part, [(0, 0), *filling]) if any(map(sum, filling)) else part)
        together = torch.from_numpy(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))
        if self._channels_last:
            together = together.to(memory_format=torch.channels_last)
        return together.to(self._device), [places[id(part)] for part in parts]

    @property
    def _form_shape(self) -> tuple[int, ...]:
        return self._networks.form.shape

    @property
    def _channels_last(self) -> bool:
        """Whether channels lie last in memory; small convolutions on a CPU then gain a third."""
        is_image = self._networks.form.kind == "image"
        return (
            is_image and len(self._recipes) == 1 and self._recipes[0].architecture.is_convolutional
        )

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

    def _prepare_dropout(self) -> None:
        thresholds = [recipe.dropout_threshold for recipe in self._recipes]
        self._shapes = self._networks.dropout_shapes(2) if any(thresholds) else []
        self._n_bytes = self._batch * sum(map(math.prod, self._shapes))
        keys = np.stack([dropout_key(recipe.seed) for recipe in self._recipes])
        self._keys = keys
        self._device_keys = torch.from_numpy(keys.view(np.int64)).to(self._device)
        n_kept = torch_philox.padded_bytes(self._n_bytes)
        self._kept = torch.zeros((len(keys), n_kept), dtype=torch.uint8, device=self._device)
        self._thresholds = torch.tensor(thresholds, dtype=torch.uint8, device=self._device)[:, None]
        self._scales = torch.tensor(
            [[256.0 / (256.0 - threshold)] for threshold in thresholds], device=self._device
        )

    def _masks(self) -> list[Tensor]:
        """Draw dropout's factors in one step, 0 or 1 / (1 - rate): a tensor for each place."""
        if not self._shapes:
            return []
        if self._device.type == "cpu":
            step = int(self._at)
            drawn = np.stack([dropout_bytes(key, step, self._n_bytes) for key in self._keys])
            kept = torch.from_numpy(drawn >= self._thresholds.numpy())
        else:
            torch_philox.draw_kept(self._device_keys, self._thresholds, self._at, self._kept)
            kept = self._kept
        factors = kept.float().mul_(self._scales)
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

    def run(self) -> list[TrainedNetwork]:
        """Train to the last checkpoint."""
        start = time.perf_counter()
        keepers = [CheckpointKeeper(recipe) for recipe in self._recipes]
        done = 0
        for target in self._steps_at:
            if done < target and not all(keeper.diverged for keeper in keepers):
                self._train_steps(keepers, done, target)
            done = target
            log = self._log(done)
            test = self._evaluate(self._test_x, *self._test)
            train = self._evaluate(self._pool, *self._train)
            states = self._networks.states()
            for row, (keeper, state) in enumerate(zip(keepers, states, strict=True)):
                keeper.keep(state, Scores(*test[row], *train[row], *log[row]))
        seconds = (time.perf_counter() - start) / len(self._recipes)
        states = self._networks.states()
        return [
            keeper.trained(state, seconds) for keeper, state in zip(keepers, states, strict=True)
        ]

    def _train_steps(self, keepers: Sequence[CheckpointKeeper], start: int, stop: int) -> None:
        rows, labels = self._batches(start, stop)
        self._networks.train()
        with warnings.catch_warnings():
            # A network's weights are a part of a matrix's row, so they are not dense in memory.
            warnings.filterwarnings("ignore", "grad and param do not obey", UserWarning)
            self._take_steps(keepers, rows, labels, start, stop)

    def _take_steps(
        self,
        keepers: Sequence[CheckpointKeeper],
        rows: Tensor,
        labels: Tensor,
        start: int,
        stop: int,
    ) -> None:
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

    def _step(self) -> None:
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

    def _log(self, done: int) -> list[tuple[float, float]]:
        """Return accuracy and loss in nats over the epoch that ends here, or its part so far."""
        if done == 0:
            return [(math.nan, math.nan)] * len(self._recipes)
        log = []
        hits, losses = self._hits.cpu().double(), self._losses.cpu().double()
        for row, steps in enumerate(self._epoch_steps):
            epoch = slice((done - 1) // steps * steps, done)
            log.append((hits[row, epoch].mean().item(), losses[row, epoch].mean().item()))
        return log

    def _evaluate(
        self, x: Tensor, rows: Tensor, labels: Tensor, counts: Tensor
    ) -> list[tuple[float, float]]:
        """Return accuracy and mean cross-entropy in nats of each network on its examples."""
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
