"""The sessions of a campaign: read from a YAML file, and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parnwb.errors import SourceError
from parnwb.recordings.conversion import SourceData
from parnwb.recordings.metadata import load_yaml

COMMON = ("interface", "metadata", "options")
OWN = ("source", "output", *COMMON)


@dataclass(frozen=True)
class Session:
    """One recording, and the file that it becomes.

    Parameters
    ----------
    source
        What is read, and how.
    output
        The file.
    """

    source: SourceData
    output: Path

    def nbytes(self) -> int:
        """Return the bytes of the recording's files; 0 where there are none. Independent."""
        path = self.source.path
        try:
            files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
            return sum(file.stat().st_size for file in files)
        except OSError:
            return 0  # reading it will tell what is wrong


def read_sessions(path: Path, movies: str = "keep", on_mismatch: str = "raise") -> list[Session]:
    """Return the sessions that a YAML file lists. Independent.

    Its ``sessions`` are mappings with ``source`` and ``output``, and perhaps ``interface``, ``metadata`` and
    ``options``, which may also stand at the top for all. Relative paths begin at the file's folder.

    Parameters
    ----------
    movies, on_mismatch
        What becomes of movies that any of them names, as in ``SourceData``.

    Raises
    ------
    SourceError
        The file is no such list, or two sessions have one output.
    """
    given = load_yaml(path, "a campaign", "sessions")
    _check_keys(given, ("sessions", *COMMON), str(path))
    listed = given.get("sessions")
    if not isinstance(listed, list) or not listed:
        raise SourceError(
            "a campaign lists its sessions", where=str(path), remedy="Write 'sessions:' with '- source: ...' below it"
        )
    common = {key: given[key] for key in COMMON if key in given}
    sessions = list(_sessions(listed, common, path, {"movies": movies, "on_mismatch": on_mismatch}))
    outputs = [session.output for session in sessions]
    twice = next((output for output in outputs if outputs.count(output) > 1), None)
    if twice is not None:
        raise SourceError(
            f"each session makes a file of its own, and two have the output {twice}",
            where=str(path),
            remedy="Give them different outputs",
        )
    return sessions


def _sessions(
    listed: list[Any], common: Mapping[str, Any], path: Path, chosen: Mapping[str, str]
) -> Iterator[Session]:
    folder = path.absolute().parent
    for number, own in enumerate(listed, 1):
        place = f"{path}, session {number}"
        if not isinstance(own, dict):
            raise SourceError("a session must be a mapping", where=place, remedy="Write 'source:' and 'output:'")
        _check_keys(own, OWN, place)
        for key in ("source", "output"):
            if not isinstance(own.get(key), str):
                raise SourceError(f"a session must have a path as its {key}", where=place, remedy=f"Add '{key}: PATH'")
        merged = {**common, **own}
        options, metadata = merged.get("options") or {}, merged.get("metadata")
        if not isinstance(options, dict) or not isinstance(metadata, str | None):
            raise SourceError("options are a mapping, and metadata the path of a YAML file", where=place)
        texts = {str(key): str(value) for key, value in options.items()}
        described = folder / metadata if metadata is not None else None
        source = SourceData(folder / own["source"], merged.get("interface"), texts, described, **chosen)
        yield Session(source, folder / own["output"])


def _check_keys(given: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    unknown = sorted(set(map(str, given)) - set(known))
    if unknown:
        raise SourceError(f"unknown entry '{unknown[0]}'", where=place, remedy=f"There may be: {', '.join(known)}")
