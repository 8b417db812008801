"""``Pipeline``: what encodes the chunks of one dataset."""

from __future__ import annotations

from typing import Any, Protocol

import numpy.typing as npt


class Pipeline(Protocol):
    """Encodes the chunks of one dataset. Independent; one thread at a time."""

    def encode(self, chunk: npt.NDArray[Any]) -> tuple[int, Any]:
        """Return ``(filter mask, bytes)`` of a chunk in the file's dtype.

        A bit of the mask that is set says that the filter at this place was skipped for this chunk. The bytes
        stay valid after the next call; those of a dataset without filters may be the chunk's own memory.
        """
