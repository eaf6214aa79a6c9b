# SPDX-License-Identifier: Apache-2.0
"""The same work in one process or in several: each builds its worker once, then takes items as it is free.

Results come as they are ready, and do not depend on the number of processes: every process computes with the same
number of threads, because sums of floats depend on it.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

import torch

from vla_core.errors import VlaError

T = TypeVar("T")
R = TypeVar("R")

_work: Any = None
"""What this worker process does with an item."""


def run_in_processes(
    make_worker: Callable[[], Callable[[T], R]], items: Sequence[T], *, processes: int = 1, threads: int = 1
) -> Iterator[R]:
    """Yield the result of each item as it is ready.

    Args:
        make_worker: Called once in each process; returns what is done with an item. Picklable, as items and
            results are, when there are several processes.
        items: What to do.
        processes: How many; 1 stays in this one.
        threads: Threads of torch in each.

    Raises:
        VlaError: A worker process has died.
    """
    if processes < 1 or threads < 1:
        raise VlaError(f"processes and threads must be at least 1, found {processes} and {threads}")
    if min(processes, len(items)) <= 1:
        yield from _here(make_worker, items, threads)
    else:
        yield from _in_pool(make_worker, items, min(processes, len(items)), threads)


def _here(make_worker: Callable[[], Callable[[T], R]], items: Sequence[T], threads: int) -> Iterator[R]:
    if not items:
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        work = make_worker()
        for item in items:
            yield work(item)
    finally:
        torch.set_num_threads(before)


def _in_pool(
    make_worker: Callable[[], Callable[[T], R]], items: Sequence[T], processes: int, threads: int
) -> Iterator[R]:
    context = get_context("spawn")
    is_over = context.Event()
    arguments = (make_worker, threads, os.getpid(), is_over)
    pool = ProcessPoolExecutor(processes, context, initializer=_begin_worker, initargs=arguments)
    try:
        for future in as_completed([pool.submit(_work_on, item) for item in items]):
            yield future.result()
    except BrokenProcessPool as error:
        raise VlaError(
            "a worker process has died: its simulator crashed, or there was too little memory. Run the command "
            "again, perhaps with fewer --processes; it goes on where this one ended"
        ) from error
    finally:
        is_over.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker(make_worker: Callable[[], Any], threads: int, parent: int, is_over: Any) -> None:
    global _work  # noqa: PLW0603 - a pool hands its workers nothing but globals
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends them
    threading.Thread(target=_end_with, args=(parent, is_over), daemon=True).start()
    torch.set_num_threads(threads)
    try:
        _work = make_worker()
    except VlaError as error:
        _work = _Refusal(str(error))  # raised for the first item: an initializer that fails says nothing


def _end_with(parent: int, is_over: Any) -> None:
    """End this worker when its parent stops or was killed."""
    while os.getppid() == parent and not is_over.wait(0.2):
        pass
    os._exit(1)


def _work_on(item: Any) -> Any:
    return _work(item)


class _Refusal:
    """Stands for a worker that could not be made."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def __call__(self, item: Any) -> Any:
        raise VlaError(self._sentence)
