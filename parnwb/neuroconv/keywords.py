"""Which keywords of neuroconv's and of NWBParallelIO's go together. All calls are independent."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from parnwb.errors import SourceError
from parnwb.io import NWBParallelIO
from parnwb.neuroconv.conversion import is_converter
from parnwb.site import BACKENDS

if TYPE_CHECKING:
    from pynwb import NWBFile

OF_BOTH = {"path", "mode", "comm", "manager", "backend", "overwrite", "compression"}
SETTINGS = frozenset(inspect.signature(NWBParallelIO).parameters) - OF_BOTH
"""Settings of NWBParallelIO that mean nothing to neuroconv."""


def check_mode(
    nwbfile: NWBFile | None, backend: str | None, backend_configuration: Any, *, append: bool, resume: bool
) -> None:
    """Refuse what cannot be asked for, by neuroconv's rules and parnwb's. Independent."""
    if backend in BACKENDS:
        raise SourceError(
            f"backend is neuroconv's, 'hdf5' or None, got {backend!r}", remedy=f"Write parallel_backend={backend!r}"
        )
    formats = {backend, getattr(backend_configuration, "backend", None)} - {None, "hdf5"}
    if formats:
        raise SourceError(
            f"parnwb writes HDF5, got backend {formats.pop()!r}", remedy="Use neuroconv's own run_conversion for it"
        )
    if append and (nwbfile is not None or resume):
        raise SourceError(
            f"append_on_disk_nwbfile goes without {'resume' if nwbfile is None else 'nwbfile'}",
            remedy="Add to the file on disk, or leave append_on_disk_nwbfile out",
        )
    if backend_configuration is not None and (append or nwbfile is not None):
        raise SourceError(
            "a backend_configuration describes a new file, not one that is added to",
            remedy="Leave it out; or add with add_to_nwbfile, configure, and write with NWBParallelIO",
        )
    if nwbfile is not None and nwbfile.read_io is not None:
        raise SourceError(
            "an NWBFile that was read from another file cannot be written to a new one",
            remedy="Use append_on_disk_nwbfile=True, or neuroconv's own run_conversion",
        )


def divided(
    converter: Any, more: Mapping[str, Any], conversion_options: Mapping[str, Any] | None
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return settings for NWBParallelIO and conversion options; refuse converters and keywords that are none."""
    settings = {name: value for name, value in more.items() if name in SETTINGS}
    others = {name: value for name, value in more.items() if name not in SETTINGS}
    if converter is None:
        return settings, {}
    if not all(hasattr(converter, name) for name in ("create_nwbfile", "add_to_nwbfile", "validate_metadata")):
        raise SourceError(f"run_conversion takes a data interface or converter, got {type(converter).__name__}")
    if not type(converter).run_conversion.__module__.startswith("neuroconv."):
        raise SourceError(
            f"{type(converter).__name__} has a run_conversion of its own, which would not be called",
            remedy="Move what it does to add_to_nwbfile, or call create_nwbfile and write with NWBParallelIO",
        )
    if is_converter(converter):
        _check_known(others, ())
    else:
        parameters = inspect.signature(converter.add_to_nwbfile).parameters.values()
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        _check_known({} if takes_any else others, [parameter.name for parameter in parameters])
    return settings, {**(conversion_options or {}), **others}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings that NWBParallelIO has not. Independent."""
    _check_known(settings, ())


def _check_known(names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known and name not in SETTINGS:
            choices = [*known, *sorted(SETTINGS)]
            near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5) or choices
            raise SourceError(f"the conversion has no keyword {name!r}", remedy=f"Did you mean {', '.join(near)}?")
