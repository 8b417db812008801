"""Layers of chunks, of which a buffer may have a part only: sources that read whole rows read those for each buffer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec
from parnwb.progress import MB
from parnwb.sources.access import Access

if TYPE_CHECKING:
    from parnwb.planning.plan import WritePlan


def layer_bytes(spec: DatasetSpec) -> int:
    """Return the uncompressed bytes of a layer: the chunks that have a part of the same rows. Independent."""
    return _layer(spec).size * spec.chunk_bytes


def readings(spec: DatasetSpec, room: int) -> int:
    """Return how many times a row is read that one rank writes: as many as buffers have a part of it. Independent.

    Ranks of which both have a part of a layer read its rows each for itself; that is not counted here.

    Parameters
    ----------
    room
        Chunks of a buffer.
    """
    if not spec.whole_rows or spec.access != Access.RANDOM or not spec.nbytes:
        return 1
    return sum(1 for _ in _layer(spec).split(room))


def said_of_readings(plan: WritePlan, least_bytes: int = 1) -> Iterator[tuple[str, str]]:
    """Iterate over ``(path, words)`` of datasets whose sources are read several times, and what helps. Independent.

    Parameters
    ----------
    least_bytes
        Datasets of which fewer bytes are read more than once are left out.
    """
    for number, (spec, times) in enumerate(zip(plan.layout, plan.readings, strict=True)):
        if times == 1:
            continue
        left = plan.remaining_of(number) / spec.nbytes
        if left * (times - 1) * (spec.nbytes + spec.read_beside) >= least_bytes:
            nbytes = layer_bytes(spec)
            enough = replace(plan, buffer_mb=-(-nbytes // 2**20))
            yield (
                spec.path,
                f"its source is read {times} times: a layer of its chunks, {nbytes / MB:.1f} MB, is more than a buffer "
                f"of {plan.buffer_mb:g} MiB; --buffer-mb {enough.buffer_mb} (buffer_mb) would read it once, with up to "
                f"{enough.memory() / MB:.0f} MB of buffers on each rank",
            )


def _layer(spec: DatasetSpec) -> Hyperslab:
    return Hyperslab.whole((1, *spec.grid.extent[1:]))
