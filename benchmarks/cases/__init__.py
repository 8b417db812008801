"""What is measured: one file for each writer, its variants in ``CASES``, and ``write``, which all its processes run."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

from recordings import KINDS, Recording

SERIES = ("neuropixels", "wideband", "imaging", "simulation", "given")
EVERYTHING = (*KINDS, "given")


@dataclass(frozen=True)
class Case:
    """One writer with its settings.

    Parameters
    ----------
    name
        ``writer, settings``, as tables have it.
    options
        For the file's ``write``.
    kinds
        Recordings that it can write.
    launch
        How its processes come about: ``'mpi'`` for ranks that mpiexec starts, ``'jobs'`` for one process that starts
        its own, ``'one'`` for one process.
    processes
        How many there are, whatever is asked for; None for as many as are asked for, or one with ``'one'``.
    parallel_hdf5
        Whether it needs h5py on parallel HDF5.
    module
        Of its ``write``; filled in when the case is found.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = EVERYTHING
    launch: str = "one"
    processes: int | None = None
    parallel_hdf5: bool = False
    module: str = ""

    def numbers(self, asked: Sequence[int]) -> Sequence[int]:
        """Return with how many processes it is run, of the numbers that are asked for."""
        if self.processes is not None:
            return [self.processes]
        return [1] if self.launch == "one" else asked


@dataclass(frozen=True)
class Task:
    """One run of a case: what each of its processes is given.

    Parameters
    ----------
    recording
        What is written.
    output
        Where to; nothing is there yet.
    processes
        Ranks or jobs.
    options
        The case's.
    """

    recording: Recording
    output: Path
    processes: int
    options: dict[str, Any]


def all_cases() -> dict[str, Case]:
    """Return all cases of all files in this folder, by name."""
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = f"{__name__}.{info.name}"
        for case in import_module(module).CASES:
            found[case.name] = Case(**{**vars(case), "module": module})
    return found


def select(patterns: Iterable[str]) -> list[Case]:
    """Return the cases whose names match any pattern, in the patterns' order."""
    cases = all_cases()
    chosen = {name: cases[name] for pattern in patterns for name in cases if fnmatch(name, pattern)}
    return list(chosen.values())
