"""What ``parnwb jobscript`` reads in a site file: plain lines ``NAME=VALUE``; the shell functions are the scripts'."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from parnwb.errors import SourceError

NUMBERS = ("cores_per_node", "memory_per_node_mb", "rate_per_rank_mb", "file_system_mbs", "longest_minutes")


@dataclass(frozen=True)
class SiteFile:
    """A cluster, as far as the size of a job depends on it.

    Parameters
    ----------
    path
        The file, which the script will source.
    cores_per_node, memory_per_node_mb
        Of one node: cores for ranks, and MB of memory for jobs.
    rate_per_rank_mb
        Uncompressed MB that a rank does in a second: what ``strong_scaling.sbatch`` has measured there.
    file_system_mbs
        MB that all ranks together can write to the file system in a second.
    costs
        What ``benchmarks/calibrate.py`` has measured there, instead of the two before; None without.
    longest_minutes
        For which a job may run.
    sbatch_options
        Further options of sbatch, such as ``--account=lab``.
    """

    path: Path
    cores_per_node: int = 16
    memory_per_node_mb: int = 64_000
    rate_per_rank_mb: float = 40.0
    file_system_mbs: float = 2000.0
    costs: Path | None = None
    longest_minutes: int = 1440
    sbatch_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in NUMBERS:
            if not getattr(self, name) > 0:
                raise SourceError(f"{name} must be positive", where=str(self.path), remedy="Correct it there")


READERS: dict[str, Callable[[str], object]] = {
    "cores_per_node": int,
    "memory_per_node_mb": int,
    "rate_per_rank_mb": float,
    "file_system_mbs": float,
    "costs": lambda text: Path(text) if text else None,
    "longest_minutes": int,
    "sbatch_options": lambda text: tuple(shlex.split(text)),
}


def read_site(path: Path) -> SiteFile:
    """Return what a site file says. Independent; nothing in it is run.

    Raises
    ------
    SourceError
        It cannot be read, or says something that is no number, or goes on in the next line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"the site file cannot be read: {error}", where=str(path), remedy="Copy jobscripts/site.sh, and name it"
        ) from error
    known = {field.name for field in fields(SiteFile)} & set(READERS)
    said: dict[str, object] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        if name in known:
            said[name] = _read(name, value, path)
    found = SiteFile(path, **said)  # type: ignore[arg-type]
    return found if found.costs is None else replace(found, costs=path.parent / found.costs)


def _read(name: str, value: str, path: Path) -> object:
    """Return what stands after ``NAME=``, as it is used."""
    try:
        words = shlex.split(value, comments=True)
        return READERS[name](words[0] if words else "")
    except ValueError as error:
        rule = "be a number" if name in NUMBERS else "stand on one line, with its quotes closed"
        raise SourceError(f"{name} must {rule}, got {value!r}", where=str(path), remedy="Correct it there") from error
