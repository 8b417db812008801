"""What docs/types.md says of each neurodata type, and what the cases hold."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from contract.cases import TYPES, build
from contract.compare import Snapshot
from pynwb import get_manager

from parnwb.authoring import bulk

TABLE = Path(__file__).parents[2] / "docs" / "types.md"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    name
        The neurodata type.
    filled
        Names of the datasets that are said to be filled in parallel.
    cases
        In which files it is.
    """

    name: str
    filled: frozenset[str]
    cases: tuple[str, ...]


def rows(heading: str) -> list[Row]:
    """Return the lines of the table below a heading of docs/types.md."""
    section = TABLE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    columns = [[_quoted(cell) for cell in (cells + [""] * 3)[:4]] for cells in lines]
    return [Row(names[0], frozenset(filled), tuple(cases)) for names, filled, _, cases in columns]


def _quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def types_in(found: Snapshot) -> dict[str, str]:
    """Return the neurodata type of each typed object of a file, by path."""
    return {
        path: str(entry["attributes"]["neurodata_type"][-1])
        for path, entry in found.items()
        if "neurodata_type" in entry.get("attributes", {})
    }


def bulk_paths(case: str, inputs: Path) -> list[str]:
    """Return the datasets of a case that are filled in parallel."""
    built = bulk.build(build(case, inputs), get_manager(), "out.nwb")
    return sorted(bulk.bulk_sources(built, bulk.BulkRule(TYPES[case].settings["bulk_threshold"])))


def filled_by_type(types: dict[str, str], paths: Iterable[str]) -> dict[str, set[str]]:
    """Return the names of datasets by the type of the object, or the table, that they are in.

    A dataset with a type of its own is what that type calls its values.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in paths:
        folder, _, name = path.rpartition("/")
        while folder not in types and folder:  # within plain groups
            folder = folder.rpartition("/")[0]
        if path in types:
            found[types[path]].add("values")
        if path not in types or f"{folder}/id" in types:
            found[types[folder or "/"]].add(name)
    return found
