"""Metadata in neuroconv's format: read from YAML, merged, and checked for what neuroconv passes over."""

from __future__ import annotations

import copy
import difflib
import warnings
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from parnwb.errors import SourceError

# Sections in which neuroconv itself refuses what it does not know.
VALIDATED = ("NWBFile", "Subject")


def load_yaml(path: Path | str, what: str, first: str) -> dict[str, Any]:
    """Read a mapping from a YAML file. Independent.

    Times stay text, as neuroconv expects them, and nothing in the file can make a Python object.

    Parameters
    ----------
    what
        What the file holds, for messages.
    first
        A section that such a file could begin with, for messages.

    Raises
    ------
    SourceError
        The file cannot be read, is not YAML, or is not a mapping.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML without its notion of dates, which loses time zones."""

    Loader.yaml_implicit_resolvers = {
        letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        found = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceError(
            f"{what} must be a readable YAML file: {error}", where=str(path), remedy="Correct the file"
        ) from error
    if not isinstance(found, dict):
        raise SourceError(
            f"{what} must be a mapping at its top, got {type(found).__name__}",
            where=str(path),
            remedy=f"Begin with a section such as '{first}:'",
        )
    return found


def load_metadata(path: Path | str) -> dict[str, Any]:
    """Read metadata in neuroconv's format from a YAML file. Independent; raises as ``load_yaml``."""
    return load_yaml(path, "metadata", "NWBFile")


def merge(base: Any, over: Mapping[str, Any]) -> Any:
    """Merge ``over`` into ``base``, both nested mappings, and return ``base``. Independent."""
    for key, value in over.items():
        present = base.get(key)
        if isinstance(present, Mapping):
            if value is not None and not isinstance(value, Mapping):
                raise SourceError(
                    f"metadata '{key}' must be a mapping, got {value!r}", remedy=f"Write '{key}:' with entries below it"
                )
            merge(present, value or {})  # a section without entries changes nothing
        elif _is_named_list(value) and _is_named_list(present):
            by_name = {entry["name"]: entry for entry in present}
            for entry in value:
                by_name[entry["name"]] = merge(by_name.get(entry["name"], {}), entry)
            base[key] = list(by_name.values())
        else:
            base[key] = copy.deepcopy(value)
    return base


def _is_named_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, Mapping) and "name" in entry for entry in value)


def warn_of_unknown_sections(given: Mapping[str, Any], known: Collection[str], what: str = "metadata") -> None:
    """Warn of each section of ``what`` that nothing reads, which neuroconv drops without a word. Independent."""
    for section in given:
        if section in known:
            continue
        near = difflib.get_close_matches(str(section), known, n=3)
        hint = f"Did you mean {', '.join(near)}?" if near else f"Known are {', '.join(sorted(known))}."
        warnings.warn(f"nothing reads the section '{section}' of the {what}. {hint}", stacklevel=3)


def warn_of_unknown_parts(
    given: Mapping[str, Any], schema: Mapping[str, Any], extracted: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """Warn of what nothing reads below the sections of metadata, as far as that can be told. Independent.

    Where the schema lists all entries that a section can have, others are not read. Where entries have names of their
    own, such as those of series, one that is nearly that of something in the source is taken for a slip.

    Parameters
    ----------
    given
        By the user.
    schema
        Of the metadata, as JSON schema has it.
    extracted
        What the source says by itself.
    options
        Of the interface, which may name entries.
    """
    used = {*_texts(given), *_texts(options)}  # entries may be named by others
    for path, near, known in _unknown_parts(given, schema, extracted):
        if path.rpartition(".")[2] not in used:
            hint = f"Did you mean {', '.join(near)}?" if near else f"Known are {', '.join(sorted(known))}."
            warnings.warn(f"nothing reads '{path}' of the metadata. {hint}", stacklevel=3)


def _unknown_parts(
    given: Mapping[str, Any], schema: Mapping[str, Any], extracted: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, list[str], set[str]]]:
    """Return paths of unknown entries, with what is near and what is known; of the top only what is below it."""
    properties = schema.get("properties", {})
    known = {str(name) for name in (*properties, *extracted)}
    is_closed = schema.get("additionalProperties") is False
    for name, value in given.items():
        if str(name) in known and isinstance(value, Mapping) and name not in VALIDATED:
            inner = extracted.get(name)
            inner = inner if isinstance(inner, Mapping) else {}
            yield from _unknown_parts(value, properties.get(name, {}), inner, f"{above}{name}.")
        elif above and str(name) not in known:
            near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.6 if is_closed else 0.8)
            if is_closed or near:
                yield f"{above}{name}", near, known


def _texts(value: Any) -> Iterator[str]:
    """Return all texts that are values somewhere."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def settle_start_time(metadata: Any, source: Path | str) -> None:
    """Make the session's start a time with a zone, this machine's if it has none. Independent.

    Raises
    ------
    SourceError
        The start is not known, or is no time.
    """
    section = metadata.get("NWBFile") or {}
    start = section.get("session_start_time")
    if start is None:
        raise SourceError(
            "an NWB file needs the session's start, which this source does not tell",
            where=str(source),
            remedy="Add 'NWBFile: {session_start_time: 2024-03-05T10:15:30+01:00}' to the file of --metadata",
        )
    if isinstance(start, str):
        try:
            start = datetime.fromisoformat(start.replace("Z", "+00:00"))
        except ValueError as error:
            raise SourceError(
                f"session_start_time must be an ISO 8601 time, got {start!r}",
                where=str(source),
                remedy="Write it like 2024-03-05T10:15:30+01:00",
            ) from error
    if isinstance(start, datetime) and start.tzinfo is None:
        start = start.astimezone()
        warnings.warn(
            f"session_start_time has no time zone; this machine's is assumed: {start.isoformat()}. "
            "Give NWBFile: session_start_time with one in the metadata to be sure.",
            stacklevel=3,
        )
    section["session_start_time"] = start
