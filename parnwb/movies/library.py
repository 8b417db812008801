"""What is said where a library that reads movies is not installed."""

from __future__ import annotations

from pathlib import Path

from parnwb.errors import SourceError


def not_installed(library: str, path: Path) -> SourceError:
    """Return the error of a file that only ``library`` reads. Independent."""
    return SourceError(
        f"{library}, which reads such files, is not installed", where=str(path), remedy='pip install "parnwb[movies]"'
    )
