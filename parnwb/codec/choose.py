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

from parnwb.codec.deflate import coder
from parnwb.codec.filters import DEFLATE, SHUFFLE, shuffle
from parnwb.layout import DatasetSpec

# In order of speed, as measured on one core; isal-0 is no faster than isal-1 on electrophysiology.
BY_SPEED = (
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
        Name for ``parnwb.codec.deflate.coder``.
    shuffle
        Whether the shuffle filter comes first.
    """

    coder: str
    shuffle: bool

    @property
    def level(self) -> int:
        """The level that the file's deflate filter records."""
        return coder(self.coder).level


def choose_coding(pieces: list[npt.NDArray[Any]]) -> Choice:
    """Return the fastest plugin-free coding whose size is within 10 % of zlib-4's, shuffled or not.

    Parameters
    ----------
    pieces
        Samples of the data in the file's dtype; none means that nothing is known.
    """
    plain, shuffled = _plain(pieces), _shuffled(pieces)
    if not plain:
        return Choice("libdeflate-4", shuffle=False)
    forms = [(False, plain)] + ([(True, shuffled)] if shuffled else [])
    reference, reference_shuffled = min((_size("zlib-4", data), flag) for flag, data in forms)
    for name in BY_SPEED:
        size, with_shuffle = min((_size(name, data), flag) for flag, data in forms)
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
    samples = list(pieces)
    data = _shuffled(samples) if SHUFFLE in options and spec.itemsize > 1 else _plain(samples)
    if not data:
        return f"zlib-{level}"
    bound = LEVEL_BOUND * _size(f"zlib-{level}", data)
    names = [*BY_SPEED, *(f"libdeflate-{n}" for n in (7, 8, 9))]
    return next((name for name in names if _size(name, data) <= bound), f"zlib-{level}")


def stored_share(spec: DatasetSpec, pieces: Iterable[npt.NDArray[Any]]) -> float:
    """Return which part of its bytes a dataset takes in the file, by a sample; 0 where that is not known."""
    samples = list(pieces)
    shuffled = SHUFFLE in {f.identifier for f in spec.filters} and spec.itemsize > 1
    data = _shuffled(samples) if shuffled else _plain(samples)
    if not data or not spec.coder:
        return 0.0
    return _size(spec.coder, data) / sum(len(piece) for piece in data)


def _plain(pieces: list[npt.NDArray[Any]]) -> list[npt.NDArray[np.uint8]]:
    return [np.ascontiguousarray(piece).reshape(-1).view(np.uint8) for piece in pieces if piece.size]


def _shuffled(pieces: list[npt.NDArray[Any]]) -> list[npt.NDArray[np.uint8]]:
    wide = [piece for piece in pieces if piece.size and piece.itemsize > 1]
    return [
        shuffle(data, piece.itemsize, np.empty_like(data)) for data, piece in zip(_plain(wide), wide, strict=True)
    ]


def _size(name: str, data: list[npt.NDArray[np.uint8]]) -> int:
    return sum(len(coder(name).compress(piece)) for piece in data)
