"""What the phases of a rank are: reading, encoding, writing, waiting, or anything else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from parnwb.comm.ranks import MEETING

READ, ENCODE, WRITE, WAIT, OTHER = "read", "encode", "write", "wait", "other"
NAMES = {
    READ: "reading the source",
    ENCODE: "encoding",
    WRITE: "writing",
    WAIT: "waiting",
    OTHER: "all else: opening, metadata, agreeing",
}
ENCODER = "encoder: "
WORDS = {
    READ: ("reading",),
    ENCODE: ("assembling", "encoding", "checksums", "sampling"),
    WRITE: ("writing", "fsync", "journal", "giving addresses", "making the file safe", "completing the file"),
}


def kind_of(phase: str) -> str:
    """Return the kind of a phase."""
    words = phase.removeprefix(ENCODER)
    if words.startswith("waiting") or phase == MEETING:
        return WAIT
    return next((kind for kind, known in WORDS.items() if words in known), OTHER)


def by_kind(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return seconds by kind, of both threads of a rank."""
    found = dict.fromkeys(NAMES, 0.0)
    for phase, value in seconds.items():
        found[kind_of(phase)] += value
    return found


def lane(seconds: Mapping[str, npt.NDArray[np.float64]], *, encoder: bool) -> dict[str, npt.NDArray[np.float64]]:
    """Return seconds in bins of one thread of a rank, by kind; nothing if it was not there."""
    found: dict[str, npt.NDArray[np.float64]] = {}
    for kind in NAMES:
        parts = [v for phase, v in seconds.items() if kind_of(phase) == kind and phase.startswith(ENCODER) == encoder]
        if parts:
            found[kind] = np.sum(parts, axis=0)
    return found
