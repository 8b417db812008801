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
        return f"{place(self.path, self.slab)}: {self.what}"


def place(path: str, slab: Hyperslab | None) -> str:
    """Return a dataset, or a box of its elements, as messages name it. Independent."""
    if slab is None:
        return path
    return f"{path}[{', '.join(f'{low}:{high}' for low, high in zip(slab.start, slab.stop, strict=True))}]"
