"""What ``parnwb jobscript`` reads in a site file: plain lines ``NAME=VALUE``; the shell functions are the scripts'."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
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
    "sbatch_options": lambda text: tuple(_whole_options(shlex.split(text))),
}


def _whole_options(words: Sequence[str]) -> Iterator[str]:
    """Iterate over options of sbatch, each with its value in one word, as a line of a script has it.

    Which options take a value only sbatch knows: one that takes none is refused by it.
    """
    option = ""
    for word in words:
        if word.startswith("-"):
            if option:
                yield option
            option = word
        elif option.startswith("--") and option != "--" and "=" not in option:
            option = f"{option}={word}"
        elif len(option) == 2 and option != "--":
            option += word
        else:
            raise _StrayWordError(word)
    if option:
        yield option


class _StrayWordError(Exception):
    """A word that is no option of sbatch, nor the value of one."""


def read_site(path: Path) -> SiteFile:
    """Return what a site file says. Independent; nothing in it is run.

    Raises
    ------
    SourceError
        It cannot be read, or says something that is no number, goes on in the next line, has words without quotes, or
        has words among the options of sbatch that belong to none.
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
        if len(words) > 1:
            raise SourceError(
                f"{name} must be one word for the shell, got {value!r}",
                where=str(path),
                remedy=f'Put quotes around it: {name}="{shlex.join(words)}"',
            )
        return READERS[name](words[0] if words else "")
    except _StrayWordError as error:
        raise SourceError(
            f"sbatch_options must be options of sbatch and their values, got {value!r}: {str(error)!r} belongs to none",
            where=str(path),
            remedy='Write it as in sbatch_options="--account=lab --partition=long"',
        ) from error
    except ValueError as error:
        rule = "be a number" if name in NUMBERS else "stand on one line, with its quotes closed"
        raise SourceError(f"{name} must {rule}, got {value!r}", where=str(path), remedy="Correct it there") from error
