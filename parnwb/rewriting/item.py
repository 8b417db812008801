"""``Item``: one link of a file that is written from other files, and what it leads to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import h5py

from parnwb.rewriting.names import raw


class Kind(Enum):
    """How something comes into the new file."""

    GROUP = "created anew"
    BULK = "created empty, and filled by all ranks"
    COPIED = "copied by HDF5"
    VALUES = "created anew with the same values"  # those of references are others
    TYPE = "committed anew"
    HARD_LINK = "a hard link"
    SOFT_LINK = "a soft link"
    EXTERNAL_LINK = "an external link"
    LINK_TO_PART = "an external link to a file that is written together with this one"


LINKS = (Kind.HARD_LINK, Kind.SOFT_LINK, Kind.EXTERNAL_LINK, Kind.LINK_TO_PART)


@dataclass(frozen=True)
class Item:
    """One link of the new file, and what it leads to.

    Parameters
    ----------
    path
        In the new file.
    kind
        How it comes there.
    file, at
        The file that has the object now, and its path there; of a link, those of the link.
    target
        Of a link.
    filename
        Of an external link, as it is stored.
    charset
        Of the link's name.
    """

    path: str
    kind: Kind
    file: h5py.File
    at: str
    target: str = ""
    filename: str = ""
    charset: int = h5py.h5t.CSET_ASCII

    @property
    def opened(self) -> Any:
        """The object as h5py's low level has it."""
        return h5py.h5o.open(self.file.id, raw(self.at))

    @property
    def dataset(self) -> h5py.Dataset:
        """The object, which is a dataset."""
        return h5py.Dataset(self.opened)
