"""The universe of procedural tasks as a data set that zoos are built on."""

from __future__ import annotations

from accuracy_from_weights.errors import ZooError
from accuracy_from_weights.zoo.recipes.architecture import InputForm
from accuracy_from_weights.zoo.recipes.data_facts import DataFacts
from accuracy_from_weights.zoo.recipes.recipe import Task
from accuracy_from_weights.zoo.recipes.universe import dataset_name
from accuracy_from_weights.zoo_training.universe import (
    UNIVERSE_VERSION,
    TaskData,
    aim_of,
    make_task,
)

# Tasks made last, by seed and kind: a zoo's networks come to a task one after another.
_made: dict[tuple[int, str | None], TaskData] = {}
_KEPT_BYTES = 1 << 28


def _make(seed: int, kind: str | None) -> TaskData:
    key = (seed, kind)
    if key not in _made:
        task = make_task(seed, kind)
        _made[key] = _made[seed, task.kind] = task
        while len(_made) > 2 and sum(t.x_train.nbytes + t.x_test.nbytes for t in _made.values()) > (
            _KEPT_BYTES
        ):
            _made.pop(next(iter(_made)))
    return _made[key]


class UniverseData:
    """Stands for all tasks; each is made from its seed when it is asked for."""

    def facts(self, seed: int, kind: str | None = None, least_aim: float = 0.0) -> DataFacts:
        """Return what a recipe may know of a seed's task; by default the seed decides its kind.

        If the task aims at a lower accuracy above chance than ``least_aim``, below 1, the next seed
        whose task does not takes its place.
        """
        while least_aim and aim_of(seed, kind) < least_aim:
            seed += 1
        task = _make(seed, kind)
        return DataFacts(
            name=dataset_name(seed),
            form=InputForm(
                task.kind, tuple(map(int, task.x_train.shape[1:])), task.vocabulary or 0
            ),
            n_classes=task.n_classes,
            n_train=len(task.x_train),
            n_test=len(task.x_test),
            universe_seed=seed,
            universe_version=UNIVERSE_VERSION,
        )

    def task(self, task: Task) -> TaskData:
        """Make the task that a recipe names.

        A recipe for a data set, or for another version of the universe, raises `ZooError`.
        """
        if task.universe_seed is None:
            raise ZooError(
                f"The recipe is for the data set {task.dataset!r}, not the universe. "
                "Give that data set."
            )
        if task.universe_version != UNIVERSE_VERSION:
            raise ZooError(
                f"The recipe's task is one of version {task.universe_version} of the universe; "
                f"this package makes version {UNIVERSE_VERSION}. Install the version that trained "
                f"the network."
            )
        return _make(task.universe_seed, task.form.kind)
