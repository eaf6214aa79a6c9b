# SPDX-License-Identifier: Apache-2.0
"""Jobs to processes: this one, a pool on this machine, or a cluster by Ray; each gives the same reports."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from vla_core.errors import ConfigError, VlaError
from vla_training.bags.raw_message import Advance
from vla_training.conversion.convert_bag import BagJob, convert_bag
from vla_training.conversion.work_folder import hold_while_alive

_tell: Any = None
"""Queue of this worker process for the number of bytes read."""


def run_jobs(
    jobs: Sequence[BagJob], *, workers: int, ray_address: str | None, advance: Advance
) -> Iterator[dict[str, Any]]:
    """Yield the report of each job as it is done.

    Args:
        jobs: What to do, one bag each.
        workers: Processes on this machine.
        ray_address: Address of a Ray cluster, on which every machine sees the same files; ``None`` for here.
        advance: Told the number of bytes read; twice the size of each bag in all.

    Raises:
        ConfigError: Ray is not installed.
        VlaError: A worker process was killed.
    """
    if ray_address is not None:
        yield from _on_ray(jobs, ray_address, advance)
    elif min(workers, len(jobs)) <= 1:
        for job in jobs:
            yield _convert(job, advance)
    else:
        yield from _in_pool(jobs, workers, advance)


def _convert(job: BagJob, advance: Advance) -> dict[str, Any]:
    """Convert a bag; tell of exactly two passes over its bytes."""
    left = 2 * job.bag.num_bytes

    def tell(num_bytes: int) -> None:
        nonlocal left
        told = min(num_bytes, left)
        left -= told
        advance(told)

    report = convert_bag(job, tell)
    advance(left)
    return report


def _in_pool(jobs: Sequence[BagJob], workers: int, advance: Advance) -> Iterator[dict[str, Any]]:
    context = get_context("spawn")
    queue, is_over = context.Queue(), context.Event()
    queue.cancel_join_thread()  # a worker that ends in the middle of a message leaves the queue locked
    listener = threading.Thread(target=_listen, args=(queue, advance), daemon=True)
    listener.start()
    initial = (queue, os.getpid(), is_over, jobs[0].work)
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=initial)
    try:
        futures: list[Future[dict[str, Any]]] = [pool.submit(_convert_in_worker, job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise VlaError(
            "a worker process was killed, perhaps for want of memory. Run the command again, with fewer --workers"
        ) from error
    finally:
        is_over.set()
        pool.shutdown(wait=True, cancel_futures=True)
        queue.put(None)
        listener.join(timeout=1.0)


def _listen(queue: Any, advance: Advance) -> None:
    while (num_bytes := queue.get()) is not None:
        advance(num_bytes)


def _begin_worker(queue: Any, parent: int, is_over: Any, work: Path) -> None:
    global _tell  # noqa: PLW0603 - a pool hands its workers nothing but globals
    _tell = queue
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent says it in a sentence
    threading.Thread(target=_end_with, args=(parent, is_over), daemon=True).start()
    hold_while_alive(work)


def _end_with(parent: int, is_over: Any) -> None:
    """End this worker when its parent stops or was killed: what is half written is repeated, not lost."""
    while os.getppid() == parent and not is_over.wait(0.2):
        pass
    os._exit(1)


def _convert_in_worker(job: BagJob) -> dict[str, Any]:
    waiting = 0

    def tell(num_bytes: int) -> None:
        nonlocal waiting
        waiting += num_bytes
        if waiting > 1 << 22:  # a message per megabytes, not per read
            _tell.put(waiting)
            waiting = 0

    report = _convert(job, tell)
    _tell.put(waiting)
    return report


def _on_ray(jobs: Sequence[BagJob], address: str, advance: Advance) -> Iterator[dict[str, Any]]:
    try:
        import ray  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise ConfigError(
            "--ray needs the package 'ray', which is not installed. Install it, or use --workers"
        ) from None
    ray.init(address=address, ignore_reinit_error=True)
    task = ray.remote(num_cpus=1)(_convert_silently)
    waiting = {task.remote(job): job for job in jobs}
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1)
        advance(2 * waiting.pop(done[0]).bag.num_bytes)
        yield ray.get(done[0])


def _convert_silently(job: BagJob) -> dict[str, Any]:
    return convert_bag(job, lambda num_bytes: None)
