"""What a fault is: a function that all ranks call, and what its one error must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Place:
    """Where a fault happens: the ranks, the way of writing, and a folder of its own."""

    comm: Any
    settings: dict[str, Any]
    folder: Path
    path: Path

    @property
    def rank(self) -> int:
        return int(self.comm.Get_rank())

    @property
    def size(self) -> int:
        return int(self.comm.Get_size())

    @property
    def last(self) -> int:
        return self.size - 1

    def open(self, *, path: Path | str | None = None, **keywords: Any) -> Any:
        from parnwb import NWBParallelIO

        return NWBParallelIO(path or self.path, **{"comm": self.comm, **self.settings, **keywords})

    def write(self, nwbfile: Any, *, path: Path | str | None = None, **keywords: Any) -> None:
        with self.open(path=path, **keywords) as io:
            io.write(nwbfile)


@dataclass(frozen=True)
class Fault:
    """A fault, and what is expected of it.

    `error` names the exception's type; `says` holds what its text must match, in any order. With no error the
    function must return on every rank. `clean` says that the folder must be as before, no partial file left; `changes`
    that an existing file is changed.
    """

    name: str
    run: Callable[[Place], None]
    error: str | None
    says: tuple[str, ...] = ()
    ranks: tuple[int, ...] = (1, 2, 3, 4, 5)
    backends: tuple[str, ...] = ("direct", "mpio")
    prepare: Callable[[Place], None] | None = None
    clean: bool = True
    leaves: bool = False
    changes: bool = False
    own_text: bool = field(default=False)


FAULTS: dict[str, Fault] = {}

SEVERAL = (2, 3, 4, 5)


def fault(error: str | None, *says: str, name: str = "", **expected: Any) -> Callable[[Any], Any]:
    """Register a function as a fault; `expected` as in `Fault`."""

    def register(function: Callable[[Place], None]) -> Callable[[Place], None]:
        key = name or function.__name__
        assert key not in FAULTS, key
        FAULTS[key] = Fault(key, function, error, says, **expected)
        return function

    return register


def applicable(ranks: int, backend: str) -> list[Fault]:
    """Return the faults that can be made with so many ranks on this backend."""
    return [item for item in FAULTS.values() if ranks in item.ranks and backend in item.backends]
