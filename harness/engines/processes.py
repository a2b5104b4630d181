"""Encoding on several devices of this machine, a process each. Hands out blocks; what a worker does with one is
`harness.engines.local`'s.

Blocks go to whoever is free; where several views lack the same images, their blocks go together, and each image is
decoded once for all. A worker that dies takes at most its last blocks with it: they are pending again, and go to the
others. Workers do not outlive the process that started them: Linux kills them with it, elsewhere they find their pipe
broken at the next image.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import tee
from multiprocessing.connection import Connection, Pipe, wait
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness import console
from harness.engines.local import ROUNDS, Advance, Job, encode
from harness.engines.speed import Work
from harness.errors import HarnessError, user_errors

if TYPE_CHECKING:
    from cache.blocks import BlockTask
    from cache.views import View
    from harness.recipe import Recipe

    Bundle = tuple[BlockTask, ...]  # blocks of the same images, one a job

SECONDS_TO_END = 60  # for a block that is being written
_KILLED_WITH_PARENT = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>


class Place(NamedTuple):
    """A job as a worker is told of it: it needs no ids, as it is sent blocks."""

    store: Path
    root: Path
    view: View
    batch_size: int | None
    sources: Mapping[str, str]


class Order(NamedTuple):
    """What a worker is told at first; then it is sent bundles, and None at the end."""

    places: tuple[Place, ...]
    recipe: Recipe
    device: str
    share: int
    parent: int


class Free(NamedTuple):
    """A worker asks for a bundle."""


class Row(NamedTuple):
    """An image is encoded: whether it failed, and until now the seconds that this worker's encoder was at work, and was
    loaded.
    """

    failed: bool
    busy: float
    ready: float


class Broken(NamedTuple):
    """A worker cannot go on."""

    why: str


class Worker:
    """The parent's side of one process."""

    def __init__(self, order: Order) -> None:
        self.device = order.device
        self.pipe, theirs = Pipe()
        handle = theirs.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from harness.engines import processes; processes.work({handle})"],
            pass_fds=[handle],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            process_group=0,  # Ctrl-C is the parent's: it lets workers end the block that they write
        )
        theirs.close()
        self.pipe.send(order)
        self.taken: list[Bundle] = []
        self.busy, self.ready, self.why = 0.0, 0.0, ""

    def give(self, bundle: Bundle | None) -> None:
        """The next blocks, or the word that there are none."""
        self.pipe.send(bundle)
        if bundle is not None:
            self.taken.append(bundle)

    def end(self) -> None:
        """Waits for the end; past its time, makes it one."""
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run(jobs: Sequence[Job], recipe: Recipe, devices: Sequence[str], advance: Advance) -> Work:
    """As `local.run`, with one worker a device; a device may be named twice.

    What all jobs lack comes first, then each job's own rest.

    Raises:
        HarnessError: no worker is left, with what ended each; or blocks stay pending.
    """
    start, images = time.perf_counter(), 0
    workers: list[Worker] = []
    for together in [*([jobs] if len(jobs) > 1 else []), *([job] for job in jobs)]:
        images += sum(len(task.items) for bundle in _bundles(together) for task in bundle)
        workers += _run(together, recipe, devices, advance)
    for job in jobs:
        job.finished()
    count = max(1, min(len(devices), len(workers)))
    busy, ready = sum(w.busy for w in workers) / count, sum(w.ready for w in workers) / count
    return Work(images, time.perf_counter() - start, busy, ready)


def _bundles(jobs: Sequence[Job]) -> list[Bundle]:
    """Pending blocks of the same images, one a job. A block that not all jobs lack is in none."""
    lacking = [{tuple(item.id for item in task.items): task for task in job.pending()} for job in jobs]
    return [tuple(tasks[ids] for tasks in lacking) for ids in lacking[0] if all(ids in tasks for tasks in lacking)]


def _run(jobs: Sequence[Job], recipe: Recipe, devices: Sequence[str], advance: Advance) -> list[Worker]:
    """What all these jobs lack; returns the workers that there were."""
    left, every = list(devices), list[Worker]()
    lost: list[str] = []
    bundles = _bundles(jobs)
    for _ in range(ROUNDS + len(devices)):
        if not bundles or not left:
            break
        workers = _round(jobs, bundles, recipe, left, advance)
        every += workers
        lost += [f"{worker.device}: {worker.why}" for worker in workers if worker.why]
        left = [*left[len(workers) :], *(worker.device for worker in workers if not worker.why)]
        bundles = _bundles(_refreshed(jobs))
    if bundles and not left:
        raise HarnessError(
            f"No worker is left ({'; '.join(lost)}). What was committed is kept: run the same command again."
        )
    return every


def _refreshed(jobs: Sequence[Job]) -> Sequence[Job]:
    """The same jobs, their stores as they are on the disk now."""
    for job in jobs:
        job.store.refresh()
    return jobs


def _round(
    jobs: Sequence[Job], bundles: Sequence[Bundle], recipe: Recipe, devices: Sequence[str], advance: Advance
) -> list[Worker]:
    """All bundles once; returns the workers, each with why it ended before its time, or ""."""
    waiting = list(bundles)[::-1]
    places = tuple(Place(job.store.path, job.root, job.view, job.batch_size, job.sources) for job in jobs)
    workers: list[Worker] = []
    try:
        for device in devices[: len(bundles)]:
            workers.append(Worker(Order(places, recipe, device, len(devices), os.getpid())))
        talking = {worker.pipe: worker for worker in workers}
        while talking:
            for pipe in wait(list(talking)):
                assert isinstance(pipe, Connection)
                worker = talking[pipe]
                try:
                    message = pipe.recv()
                    if isinstance(message, Free):
                        worker.give(waiting.pop() if waiting else None)
                except (EOFError, OSError):
                    del talking[pipe]
                    if _lost(worker):
                        waiting += [bundle for bundle in _bundles(_refreshed(jobs)) if bundle in worker.taken]
                    continue
                if isinstance(message, Row):
                    failed, worker.busy, worker.ready = message
                    advance(failed)
                elif isinstance(message, Broken):
                    worker.why = message.why
    finally:
        for worker in workers:
            worker.pipe.close()  # those who still work find it broken
        for worker in workers:
            worker.end()
    return workers


def _lost(worker: Worker) -> bool:
    """Whether a worker that ended did so before its time; says so."""
    code = worker.process.wait(SECONDS_TO_END)
    if code and not worker.why:
        worker.why = f"its process ended by {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"
    if worker.why:
        console.say(f"The worker on {worker.device} is lost ({worker.why}); the others take its blocks.")
    return bool(worker.why)


# --- the worker's side ----------------------------------------------------------------------------------------------


def work(handle: int) -> None:
    """The whole life of a worker: its order, then blocks until there are none."""
    pipe = Connection(handle)
    try:
        order: Order = pipe.recv()
        _die_with(order.parent)
        _encode(pipe, order)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        sys.exit(1)  # the parent has gone
    except Exception as error:  # whatever it is, the parent names it
        pipe.send(Broken(str(error) if isinstance(error, user_errors()) else f"{type(error).__name__}: {error}"))
        sys.exit(1)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_KILLED_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it died before
        sys.exit(1)


def _encode(pipe: Connection, order: Order) -> None:
    import torch

    from cache.encode import Meter
    from cache.store import FeatureStore

    torch.set_num_threads(max(1, torch.get_num_threads() // order.share))
    threads = max(1, (os.cpu_count() or 1) // order.share)
    encoder = order.recipe.load(order.device)
    meter, start = Meter(), time.perf_counter()

    def advance(failed: bool) -> None:
        pipe.send(Row(failed, meter.busy, time.perf_counter() - start))

    def bundles() -> Iterator[Bundle]:
        while True:
            pipe.send(Free())
            bundle = pipe.recv()
            if bundle is None:
                return
            yield bundle

    pending = [
        (Job(FeatureStore.open(place.store), (), (), *place[1:]), map(itemgetter(i), stream))
        for i, (place, stream) in enumerate(zip(order.places, tee(bundles(), len(order.places)), strict=True))
    ]
    encode(pending, encoder, advance, meter, threads)
