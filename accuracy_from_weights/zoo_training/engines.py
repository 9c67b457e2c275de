"""Engines that train the networks of a zoo: this machine's processes, a Dask or a Ray cluster.

All three go through joblib. Workers return networks and never write: only the process that builds
the zoo needs its folder.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import joblib

from accuracy_from_weights.errors import ZooError, needs
from accuracy_from_weights.zoo_training.training import TrainingData

ENGINES = ("local", "dask", "ray")
_DASK_PLUGIN = "accuracy-from-weights-images"


DataReference = Callable[[], TrainingData]
"""Returns the training data, which travels to a worker once and not with each task."""


@dataclass(frozen=True, eq=False)
class Engine:
    """An open pool of workers that runs tasks, by a backend of joblib.

    ``n_jobs`` is -1 where the cluster decides. ``lost_worker`` is raised when a worker died; its
    task can then be given to another one.
    """

    n_jobs: int
    data: DataReference
    lost_worker: tuple[type[BaseException], ...]
    backend: str
    backend_options: dict[str, Any]

    def run(self, function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield what `function` returns for each task, in the order in which they are done."""
        with joblib.parallel_config(self.backend, n_jobs=self.n_jobs, **self.backend_options):
            parallel = joblib.Parallel(
                return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs"
            )
        results = parallel(joblib.delayed(function)(self.data, *task) for task in tasks)
        try:
            yield from results
        finally:
            with warnings.catch_warnings():
                # Whoever stops in the middle knows that some results were not waited for.
                warnings.filterwarnings("ignore", r"\d+ tasks ", UserWarning)
                results.close()


@contextlib.contextmanager
def open_engine(
    engine: str, data: TrainingData, n_jobs: int = 1, address: str | None = None
) -> Iterator[Engine]:
    """Connect to a cluster, or start one on this machine, and hand it the training data.

    ``n_jobs`` are processes on this machine, -1 one per core; a cluster at an address has its own
    number. The address is that of a Dask scheduler or a Ray head; without one, a cluster of so many
    workers is started on this machine. An unknown engine, or a cluster that does not answer, raises
    `ZooError`.
    """
    if engine not in ENGINES:
        raise ZooError(f"There is no engine {engine!r}. Choose one of {', '.join(ENGINES)}.")
    if engine == "local":
        if address is not None:
            raise ZooError(
                f"The engine local takes no address, and {address} was given. Name the engine that "
                "answers there: dask or ray."
            )
        yield _local(data, n_jobs)
        return
    n_workers = joblib.effective_n_jobs(n_jobs)
    with (_dask if engine == "dask" else _ray)(data, n_workers, address) as opened:
        yield opened


def _local(data: TrainingData, n_jobs: int) -> Engine:
    from joblib.externals.loky.process_executor import BrokenProcessPool

    # joblib maps large arrays into the memory of all processes.
    reference = functools.partial(_data_of_builder, data, os.getpid())
    return Engine(n_jobs, reference, (BrokenProcessPool,), "loky", {})


def _data_of_builder(data: TrainingData, builder: int) -> TrainingData:
    _end_with(builder)
    return data


_watched: set[int] = set()


def _end_with(builder: int) -> None:
    """End this worker process when its builder is gone; a killed builder cannot tell its workers.

    Without this they would go on training for minutes beside those of the resumed build.
    """
    if os.getpid() == builder or builder in _watched:
        return
    _watched.add(builder)

    def watch() -> None:
        while os.getppid() == builder:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="builder-watch", daemon=True).start()


def _data_of_dask_worker() -> TrainingData:
    """Return the training data that each Dask worker was given when it joined."""
    from distributed import get_worker

    plugin: Any = get_worker().plugins[_DASK_PLUGIN]
    data: TrainingData = plugin.data
    return data


@contextlib.contextmanager
def _dask(data: TrainingData, n_workers: int, address: str | None) -> Iterator[Engine]:
    with needs("The engine dask needs Dask", extra="dask"):
        import distributed
        from distributed.diagnostics.plugin import WorkerPlugin
        from joblib._dask import DaskDistributedBackend

    class Images(WorkerPlugin):
        """Plugin that gives the data to each worker, also to those that join or restart later."""

        def __init__(self, images: TrainingData) -> None:
            self.name = _DASK_PLUGIN
            self.data = images

    class Backend(DaskDistributedBackend):
        """Joblib's own backend, also for a cluster of one worker: joblib would go without it."""

        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, super().effective_n_jobs(n_jobs))

    name = "accuracy-from-weights-dask"
    joblib.register_parallel_backend(name, Backend)
    try:
        if address is None:
            cluster = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": None}
            client = distributed.Client(**cluster, set_as_default=False)
        else:
            client = distributed.Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise _no_answer("Dask", address, error) from error
    with client:
        client.register_plugin(Images(data))
        lost = (distributed.scheduler.KilledWorker, distributed.client.FutureCancelledError)
        yield Engine(-1, _data_of_dask_worker, lost, name, {"client": client})


def _data_in_ray_store(reference: Any) -> TrainingData:
    """Return the training data in Ray's store of shared objects."""
    import ray

    data: TrainingData = ray.get(reference)
    return data


@contextlib.contextmanager
def _ray(data: TrainingData, n_workers: int, address: str | None) -> Iterator[Engine]:
    with needs("The engine ray needs Ray", extra="ray"):
        import ray
        from ray.util.joblib.ray_backend import RayBackend
        from ray.util.multiprocessing.pool import ResultThread

    class StreamingRayBackend(RayBackend):
        """Ray's own backend, allowed to return results one by one.

        It inherits from joblib's multiprocessing backend, which refuses that; Ray's pool of actors
        has no reason to.
        """

        supports_return_generator = True

    joblib.register_parallel_backend("accuracy-from-weights-ray", StreamingRayBackend)
    started = not ray.is_initialized()
    if started:
        try:
            _knock(address)
            options = {"num_cpus": n_workers} if address is None else {"address": address}
            ray.init(**options, include_dashboard=False, log_to_driver=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise _no_answer("Ray", address, error) from error
    try:
        reference = functools.partial(_data_in_ray_store, ray.put(data))
        n_jobs = max(1, int(ray.cluster_resources().get("CPU", 1)))
        lost = (ray.exceptions.RayError,)
        yield Engine(n_jobs, reference, lost, "accuracy-from-weights-ray", {})
    finally:
        # The pool's threads wait for actors that were just told to end; one that asks Ray after a
        # shutdown would start a new cluster.
        for thread in threading.enumerate():
            if isinstance(thread, ResultThread):
                thread.join(timeout=20)
        if started:
            ray.shutdown()


def _knock(address: str | None) -> None:
    """Raise OSError when nobody listens at an address; Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _no_answer(name: str, address: str | None, error: Exception) -> ZooError:
    where = "on this machine" if address is None else f"at {address}"
    reason = f"{type(error).__name__} ({error})"
    advice = "Choose the engine local" if address is None else "Start it, or correct the address"
    return ZooError(f"There is no {name} cluster {where}: {reason}. {advice}.")
