"""Sources for ranks that did not build the NWBFile: the root's, by pickle."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from parnwb.comm import Ranks
from parnwb.errors import ParnwbError, SourceError
from parnwb.sources.access import Access
from parnwb.sources.array import MAX_PICKLED_BYTES, ArraySource, CastSource
from parnwb.sources.listed import ListSource
from parnwb.sources.source import Source

MAX_SENT_BYTES = 2 * MAX_PICKLED_BYTES
"""What all sources together may take, pickled: every rank gets all of them, and the root keeps them meanwhile."""


@dataclass(frozen=True)
class Received:
    """What a rank can read.

    Parameters
    ----------
    sources
        By path.
    kept
        Paths of what the root alone can read, though it could be read in any order: too much is in its memory.
    """

    sources: dict[str, Source]
    kept: frozenset[str] = frozenset()


class NotSendableError(SourceError):
    """A source that only the process that made it can read."""


def receive_sources(ranks: Ranks, own: Mapping[str, Source], *, have_own: bool) -> Received:
    """Return this rank's own sources, or the root's if it has none. Collective.

    Sequential and growing sources stay with the root, which alone reads them; so do arrays in memory above
    ``MAX_PICKLED_BYTES``, and what is more than ``MAX_SENT_BYTES`` together.

    Raises
    ------
    NotSendableError
        Some rank has no sources and one of the root's cannot be pickled; the dataset is named.
    """
    if all(ranks.gather_all(have_own)):
        return Received(dict(own))
    packed: dict[str, bytes] = {}
    kept: frozenset[str] = frozenset()
    with ranks.agreed("sending the sources"):
        if ranks.is_root:
            packed, kept = _packed_and_kept(own)
    packed, kept = ranks.broadcast((packed, kept))
    with ranks.agreed("receiving the sources"):
        sources = dict(own) if have_own else {path: _unpacked(raw, path) for path, raw in packed.items()}
    return Received(sources, kept)


def _unpacked(raw: bytes, path: str) -> Source:
    try:
        source: Source = pickle.loads(raw)
    except Exception as error:
        raise SourceError(
            f"the root's source cannot be opened on this rank: {type(error).__name__}: {error}",
            where=path,
            remedy="Let every rank see the same files and modules, or build the NWBFile on every rank",
        ) from error
    return source


def _packed_and_kept(sources: Mapping[str, Source]) -> tuple[dict[str, bytes], frozenset[str]]:
    packed: dict[str, bytes] = {}
    kept: set[str] = set()
    total = 0
    for path, source in sources.items():
        if source.access in (Access.SEQUENTIAL, Access.GROWING):
            continue
        raw = b"" if _resident_bytes(source) > MAX_PICKLED_BYTES else _packed(source, path)
        if not raw or total + len(raw) > MAX_SENT_BYTES:
            kept.add(path)
            continue
        packed[path] = raw
        total += len(raw)
    if kept:
        warnings.warn(
            f"rank 0 alone writes {', '.join(sorted(kept))}: the other ranks have no NWBFile, and so much of its "
            "memory is not sent to them. Keep the values in a file (np.memmap, h5py.Dataset), or build the NWBFile on "
            "every rank",
            stacklevel=4,
        )
    return packed, frozenset(kept)


def _resident_bytes(source: Source) -> int:
    """Return how many bytes of values a source has in memory. Independent."""
    if isinstance(source, CastSource):
        return _resident_bytes(source.source)
    if isinstance(source, ListSource):
        return source.nbytes
    return source.array.nbytes if isinstance(source, ArraySource) else 0


def _packed(source: Source, path: str) -> bytes:
    try:
        return pickle.dumps(source)
    except Exception as error:
        reason = error.message if isinstance(error, ParnwbError) else f"{type(error).__name__}: {error}"
        raise NotSendableError(
            f"the root's source cannot be sent to ranks that have no NWBFile: {reason}",
            where=path,
            remedy="Build the NWBFile on every rank, or keep the data in a file (np.memmap, h5py.Dataset)",
        ) from error
