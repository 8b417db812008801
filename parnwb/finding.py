"""``Finding``: one thing that is wrong with a file."""

from __future__ import annotations

from dataclasses import dataclass

from parnwb.hyperslab import Hyperslab


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a file: which dataset, which elements, and what."""

    path: str
    slab: Hyperslab | None
    what: str

    def __str__(self) -> str:
        return f"{self.slab.place(self.path) if self.slab is not None else self.path}: {self.what}"
