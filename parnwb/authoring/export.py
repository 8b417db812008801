"""``Export``: what pynwb's ``export`` is asked to write, in the place of an NWBFile that was made here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import h5py
from hdmf.backends.io import HDMFIO
from hdmf.build import BuildManager, GroupBuilder
from pynwb import NWBHDF5IO, NWBFile

from parnwb.authoring.bulk import build, uncopied_arrays
from parnwb.authoring.bulk_rule import BulkRule
from parnwb.errors import ParnwbError, SourceError

Prepare = Callable[[GroupBuilder], None]


def as_it_is(builder: GroupBuilder) -> None:
    """Change nothing."""


@dataclass(frozen=True)
class Export:
    """An NWB file that is written once more.

    Parameters
    ----------
    source
        By which the file is open.
    nwbfile
        What ``source`` has read, perhaps changed since; None for all that the file holds.
    prepare
        Is given what will be written, and may change with which settings.
    """

    source: HDMFIO
    nwbfile: NWBFile | None = None
    prepare: Prepare = as_it_is

    def rule(self, rule: BulkRule, *, link_data: bool) -> BulkRule:
        """Return what is bulk: data that stay where they are in the file are copied, links to others stay links."""
        return replace(rule, link_data=link_data, export_source=os.path.abspath(self.source.source))


Content: TypeAlias = NWBFile | Export


def prepared(content: Content) -> Prepare:
    """Return what changes the settings of content before it is written. Independent."""
    return content.prepare if isinstance(content, Export) else as_it_is


def export_of(src_io: Any, nwbfile: NWBFile | None, files: ExitStack) -> Export:
    """Return what is exported. Independent.

    Parameters
    ----------
    src_io
        What has the file open; or its path; or an ``Export``.
    nwbfile
        As for ``Export``.
    files
        Closes a file that is opened here.

    Raises
    ------
    ParnwbError
        It is neither, or cannot be opened.
    """
    if isinstance(src_io, Export):
        return src_io
    if isinstance(src_io, str | Path):
        try:
            src_io = files.enter_context(NWBHDF5IO(str(src_io), "r"))
        except Exception as error:
            raise SourceError(
                f"the file to export cannot be opened: {type(error).__name__}: {error}",
                where=str(src_io),
                remedy="Give an NWB file that is not open for writing elsewhere",
            ) from error
    if not isinstance(src_io, NWBHDF5IO):
        raise ParnwbError(f"export takes an NWBHDF5IO or a path, got {type(src_io).__name__}")
    return Export(src_io, nwbfile)


def write_content(content: Content, io: HDMFIO, arguments: Mapping[str, Any]) -> None:
    """Let pynwb write. Independent.

    Parameters
    ----------
    content
        What.
    io
        Open for writing.
    arguments
        ``cache_spec``, ``link_data`` and so on.
    """
    if not isinstance(content, Export):
        io.write(content, **arguments)
        return
    rest = {name: value for name, value in arguments.items() if name != "cache_spec"}
    cache_spec = arguments.get("cache_spec", True)
    io.export(src_io=content.source, nwbfile=content.nwbfile, write_args=rest, cache_spec=cache_spec)


def build_content(content: Content, manager: BuildManager, path: Path, rule: BulkRule) -> GroupBuilder:
    """Return hdmf's builder tree of what would be written at ``path``, without writing anything. Independent."""
    if not isinstance(content, Export):
        return build(content, manager, str(path))
    with h5py.File(path, "w", driver="core", backing_store=False) as nowhere:
        io = _BuilderIO(path=str(path), mode="w", manager=manager, file=nowhere)
        with uncopied_arrays():
            write_content(content, io, {"link_data": rule.link_data, "cache_spec": False})
    assert io.builder is not None
    content.prepare(io.builder)
    return io.builder


class _BuilderIO(NWBHDF5IO):
    """pynwb's writer, which writes nothing but remembers what it would have."""

    builder: GroupBuilder | None = None

    def __del__(self) -> None:
        """Leave out hdmf's warning that the file is still open."""

    def write_builder(self, builder: GroupBuilder, **kwargs: Any) -> None:
        """Remember it."""
        self.builder = builder
