"""``Crew``: threads of one rank that encode the chunks of a buffer side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from parnwb.codec.filters import NUMCODECS
from parnwb.codec.pipeline import OWN_ORDER, open_pipeline
from parnwb.codec.protocol import Pipeline
from parnwb.errors import PlanError
from parnwb.layout import DatasetSpec

SLURM_CPUS = "SLURM_CPUS_PER_TASK"
Chunk = TypeVar("Chunk")


def check_threads(threads: object) -> None:
    """Refuse a number of threads that means nothing."""
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise PlanError(f"threads must be None or a number of threads from 1 on, got {threads!r}")


def threads_here(wanted: int | None, environ: Mapping[str, str] = os.environ) -> int:
    """Return how many threads encode on this rank. Independent.

    Parameters
    ----------
    wanted
        So many; None for as many processors as SLURM gives to a task, of those that this process may run on, and
        otherwise one: ranks are what uses the other processors then.
    """
    if wanted is not None:
        return wanted
    told = environ.get(SLURM_CPUS, "")
    return min(int(told), len(os.sched_getaffinity(0))) if told.isdecimal() and int(told) else 1


def runs_in_threads(spec: DatasetSpec) -> bool:
    """Tell whether several threads can encode a dataset: HDF5 has one lock for all. Independent."""
    return bool(spec.filters) and {item.identifier for item in spec.filters} <= {*OWN_ORDER, NUMCODECS}


class Crew:
    """Encodes with one pipeline for each thread. Independent. Use as a context manager, which waits for all threads.

    Parameters
    ----------
    threads
        With one, chunks are encoded by whoever asks for the next.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="parnwb-codec") if threads > 1 else None

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def pipeline(self, spec: DatasetSpec) -> Callable[[Iterable[tuple[Chunk, Any]]], Iterator[tuple[Chunk, Any]]]:
        """Return what takes ``(name, chunk)`` and gives ``(name, (filter mask, bytes))``, in the same order.

        Raises
        ------
        CodecError
            A filter that this build of HDF5 cannot apply.
        """
        first = open_pipeline(spec)
        if self._executor is None or not runs_in_threads(spec):
            return lambda chunks: ((name, first.encode(chunk)) for name, chunk in chunks)
        idle: SimpleQueue[Pipeline] = SimpleQueue()
        for pipeline in [first, *(open_pipeline(spec) for _ in range(1, self._threads))]:
            idle.put(pipeline)
        executor = self._executor

        def encode(chunk: Any) -> Any:
            pipeline = idle.get()
            try:
                return pipeline.encode(chunk)
            finally:
                idle.put(pipeline)

        def encode_all(chunks: Iterable[tuple[Chunk, Any]]) -> Iterator[tuple[Chunk, Any]]:
            coming = [(name, executor.submit(encode, chunk)) for name, chunk in chunks]
            return ((name, stored.result()) for name, stored in coming)

        return encode_all
