"""The ways to write one file: backend, transfer and decomposition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Road:
    """Settings of ``NWBParallelIO`` that must not change what is written."""

    backend: str
    transfer: str
    decomposition: str

    def __str__(self) -> str:
        names = (self.backend, self.transfer if self.backend == "mpio" else "", self.decomposition)
        return "-".join(name for name in names if name)

    @property
    def settings(self) -> dict[str, str]:
        """As keywords."""
        return asdict(self)


def all_roads() -> Iterator[Road]:
    """Iterate over all of them, whatever this installation can do."""
    for transfer in ("direct", "independent", "collective"):
        for decomposition in ("balanced", "slab", "block"):
            if transfer == "direct":
                yield Road("direct", "independent", decomposition)
            else:
                yield Road("mpio", transfer, decomposition)
