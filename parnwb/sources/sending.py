"""Sources for ranks that did not build the NWBFile: the root's, by pickle."""

from __future__ import annotations

import pickle
from collections.abc import Mapping

from parnwb.comm import Ranks
from parnwb.errors import ParnwbError, SourceError
from parnwb.sources.access import Access
from parnwb.sources.array import MAX_PICKLED_BYTES
from parnwb.sources.source import Source

MAX_SENT_BYTES = 2 * MAX_PICKLED_BYTES
"""What all sources together may take, pickled: every rank gets all of them, and the root keeps them meanwhile."""

REMEDY = "Build the NWBFile on every rank, or keep the data in a file (np.memmap, h5py.Dataset)"


class NotSendableError(SourceError):
    """A source that only the process that made it can read."""


def receive_sources(ranks: Ranks, own: Mapping[str, Source], *, have_own: bool) -> dict[str, Source]:
    """Return this rank's own sources, or the root's if it has none. Collective.

    Sequential sources stay with the root, which alone reads them.

    Raises
    ------
    NotSendableError
        Some rank has no sources and one of the root's cannot be pickled, or all together are larger than
        ``MAX_SENT_BYTES``; the dataset is named.
    """
    if all(ranks.gather_all(have_own)):
        return dict(own)
    packed: dict[str, bytes] = {}
    with ranks.agreed("sending the sources"):
        if ranks.is_root:
            packed = _all_packed(own)
    packed = ranks.broadcast(packed)
    with ranks.agreed("receiving the sources"):
        return dict(own) if have_own else {path: _unpacked(raw, path) for path, raw in packed.items()}


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


def _all_packed(sources: Mapping[str, Source]) -> dict[str, bytes]:
    packed: dict[str, bytes] = {}
    total = 0
    for path, source in sources.items():
        if source.access is Access.SEQUENTIAL:
            continue
        packed[path] = _packed(source, path)
        total += len(packed[path])
        if total > MAX_SENT_BYTES:
            raise NotSendableError(
                f"the root's sources sent to ranks that have no NWBFile have at most {MAX_SENT_BYTES} bytes together, "
                f"these have {total} up to this one",
                where=path,
                remedy=REMEDY,
            )
    return packed


def _packed(source: Source, path: str) -> bytes:
    try:
        return pickle.dumps(source)
    except Exception as error:
        reason = error.message if isinstance(error, ParnwbError) else f"{type(error).__name__}: {error}"
        raise NotSendableError(
            f"the root's source cannot be sent to ranks that have no NWBFile: {reason}",
            where=path,
            remedy=REMEDY,
        ) from error
