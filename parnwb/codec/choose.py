"""Which deflate program, and shuffled or not: decided on a sample of the data, once, by the root.

One rule serves the level that a user asks for and the automatic choice: of the coders in order of speed, the first
whose sample is no larger than a bound over the reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.codec import planes
from parnwb.codec.deflate import PLANES, level_of, open_deflater
from parnwb.codec.filters import DEFLATE, SHUFFLE, row_length
from parnwb.layout import DatasetSpec

# In order of speed, as measured on one core; isal-0 is no faster than isal-1 on electrophysiology.
BY_SPEED = (
    *([PLANES] if planes.available() else []),
    "isal-1",
    "huffman-1",
    "libdeflate-1",
    "zlibng-2",
    "libdeflate-2",
    "zlibng-3",
    "libdeflate-4",
    "libdeflate-6",
)
AUTO_BOUND = 1.10
# A sample speaks for the rest of a recording only so exactly: 5 % are promised, 3 % are allowed.
LEVEL_BOUND = 1.03
# Programs differ by more than that in what they make of the padding and the headers of tiny chunks.
TINY_CHUNK_BYTES = 16 * 1024


@dataclass(frozen=True)
class Choice:
    """A coding of one dataset.

    Parameters
    ----------
    coder
        Name for ``parnwb.codec.deflate.open_deflater``.
    shuffle
        Whether the shuffle filter comes first.
    """

    coder: str
    shuffle: bool

    @property
    def level(self) -> int:
        """The level that the file's deflate filter records."""
        return level_of(self.coder)


def choose_coding(pieces: list[npt.NDArray[Any]]) -> Choice:
    """Return the fastest plugin-free coding whose size is within 10 % of zlib-4's, shuffled or not.

    Parameters
    ----------
    pieces
        Samples of the data in the file's dtype; none means that nothing is known.
    """
    known = _known(pieces)
    if not known:
        return Choice("libdeflate-4", shuffle=False)
    forms = [False, True] if known[0].itemsize > 1 else [False]
    reference, reference_shuffled = min((_size("zlib-4", known, form), form) for form in forms)
    for name in BY_SPEED:
        size, with_shuffle = min((_size(name, known, form), form) for form in forms)
        if size <= AUTO_BOUND * reference:
            return Choice(name, with_shuffle)
    return Choice("zlib-4", reference_shuffled)


def coder_for(spec: DatasetSpec, pieces: Iterable[npt.NDArray[Any]]) -> str:
    """Return the coder that keeps what the user's deflate level means, or '' where there is no deflate.

    The fastest whose file is surely at most 5 % larger than zlib's at that level, by a sample of the data.
    """
    options = {f.identifier: f.options for f in spec.filters}
    if DEFLATE not in options:
        return ""
    level = int(options[DEFLATE][0])
    if level == 0 or spec.chunk_bytes < TINY_CHUNK_BYTES:
        return f"zlib-{level}"
    known, shuffled = _known(pieces), _is_shuffled(spec)
    if not known:
        return f"zlib-{level}"
    bound = LEVEL_BOUND * _size(f"zlib-{level}", known, shuffled)
    names = [*BY_SPEED, *(f"libdeflate-{n}" for n in (7, 8, 9))]
    return next((name for name in names if _size(name, known, shuffled) <= bound), f"zlib-{level}")


def stored_share(spec: DatasetSpec, pieces: Iterable[npt.NDArray[Any]]) -> float:
    """Return which part of its bytes a dataset takes in the file, by a sample; 0 where that is not known."""
    known = _known(pieces)
    if not known or not spec.coder:
        return 0.0
    return _size(spec.coder, known, _is_shuffled(spec)) / sum(piece.nbytes for piece in known)


def _known(pieces: Iterable[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    return [np.ascontiguousarray(piece) for piece in pieces if piece.size]


def _is_shuffled(spec: DatasetSpec) -> bool:
    return SHUFFLE in {f.identifier for f in spec.filters} and spec.itemsize > 1


def _size(name: str, pieces: list[npt.NDArray[Any]], shuffled: bool) -> int:
    """Return what a coder makes of pieces, which are as wide as chunks."""
    total = 0
    for piece in pieces:
        itemsize = piece.itemsize if shuffled else 1
        row = row_length(piece.shape or (1,)) * piece.itemsize // itemsize
        deflater = open_deflater(name, shuffled_itemsize=itemsize, row=row)
        total += len(deflater.compress(piece.reshape(-1).view(np.uint8)))
    return total
