"""From a vendor's recording to an NWBFile, through neuroconv's data interfaces and converters.

Nothing large is read here: the NWBFile that comes out holds lazy iterators, to be read by ``parnwb.sources``.
"""

from __future__ import annotations

import copy
import difflib
import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from parnwb.errors import SourceError
from parnwb.sources.spikeglx import check_spikeglx, find_spikeglx, read_meta

if TYPE_CHECKING:
    from pynwb import NWBFile

T = TypeVar("T")

Options = Mapping[str, str]

_PATH_OPTIONS = ("folder_path", "file_path", "file_paths")
"""The parameters that neuroconv's interfaces take their source by."""


def recognise(source: Path | str) -> tuple[str, dict[str, str]]:
    """Tell which of neuroconv's interfaces reads ``source``. Independent; reads no samples.

    Only SpikeGLX is recognised: a ``.bin`` or ``.meta`` file, or a folder that holds some.

    Returns
    -------
    interface, options
        Name of the class, and its options as text.

    Raises
    ------
    SourceError
        There is no such file or folder, or it is not recognised.
    """
    path = Path(source)
    if path.is_dir() and find_spikeglx(path):
        return "SpikeGLXConverterPipe", {"folder_path": str(path)}
    if _is_spikeglx_file(path):
        return _spikeglx_interface(path.with_suffix(".bin"))
    if not path.exists():
        raise SourceError(
            "a source must exist: no such file or folder", where=str(path), remedy="Check the path"
        )
    raise SourceError(
        "a source must be of a known format: only SpikeGLX is recognised by itself",
        where=str(path),
        remedy="Name the neuroconv class that reads it, for example --interface OpenEphysRecordingInterface",
    )


def open_interface(source: Path | str, interface: str | None = None, options: Options | None = None) -> Any:
    """Open ``source`` with one of neuroconv's interfaces or converters. Independent.

    Parameters
    ----------
    source
        File or folder.
    interface
        Name of the class; None to recognise it.
    options
        Arguments of the class, each as text that is read as a YAML scalar or list.

    Raises
    ------
    SourceError
        The source is not recognised or damaged, the class or an option is unknown, or neuroconv is not
        installed or cannot open the source.
    """
    path = Path(source)
    name, recognised = recognise(path) if interface is None or _is_spikeglx_file(path) else (interface, {})
    if interface is not None and interface != name:
        recognised = {}  # the file is to be read in another way than it would be by itself
    interface = interface or name
    if interface.startswith("SpikeGLX"):
        _check_all_spikeglx(path)
    kind = _class(interface)
    arguments = _arguments(kind, path, {**recognised, **(options or {})})
    return _run(lambda: kind(**arguments), f"{interface} cannot open the source", path)


def load_metadata(path: Path | str) -> dict[str, Any]:
    """Read metadata in neuroconv's format from a YAML file. Independent.

    Times stay text, as neuroconv expects them.

    Raises
    ------
    SourceError
        The file cannot be read, is not YAML, or is not a mapping.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML without its notion of dates, which loses time zones."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        metadata = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceError(
            f"metadata must be a readable YAML file: {error}", where=str(path), remedy="Correct the file"
        ) from error
    if not isinstance(metadata, dict):
        raise SourceError(
            f"metadata must be a mapping at its top, got {type(metadata).__name__}",
            where=str(path),
            remedy="Begin with a section such as 'NWBFile:'",
        )
    return metadata


def build_nwbfile(
    source: Path | str,
    *,
    interface: str | None = None,
    options: Options | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> NWBFile:
    """Build the NWBFile of a recording, its large data left lazy. Independent.

    Parameters
    ----------
    source, interface, options
        As for ``open_interface``.
    metadata
        In neuroconv's format; merged over what the interface extracts. A list of named entries is merged by
        name, any other list replaces the extracted one.

    Returns
    -------
    nwbfile
        With bare iterators, no compression setting, and the chunk shapes of neuroconv.

    Raises
    ------
    SourceError
        As ``open_interface``; or the session's start is not known, or neuroconv refuses the metadata.
    """
    opened = open_interface(source, interface, options)
    known = "use_new_metadata_format" in inspect.signature(opened.get_metadata).parameters
    extracted = _run(
        lambda: opened.get_metadata(**({"use_new_metadata_format": True} if known else {})),
        "the metadata of the source cannot be read",
        source,
    )
    merged = merge(extracted, metadata or {})
    _settle_start_time(merged, source)
    return _run(
        lambda: opened.create_nwbfile(metadata=merged), "the NWBFile of the source cannot be built", source
    )


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


def _settle_start_time(metadata: Any, source: Path | str) -> None:
    """Make the session's start a time with a zone."""
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


def _is_spikeglx_file(path: Path) -> bool:
    """Tell by the name, or by the .meta beside it, since the file may have been renamed."""
    if path.suffix not in (".bin", ".meta"):
        return False
    meta = path.with_suffix(".meta")
    named = path.name.removesuffix(path.suffix).endswith((".ap", ".lf", ".nidq"))
    return (meta.exists() and "typeThis" in read_meta(meta)) or (named and path.exists())


def _spikeglx_interface(binary: Path) -> tuple[str, dict[str, str]]:
    """Return the interface of one file; the .meta and not the file's name says which stream it is."""
    check_spikeglx(binary)
    meta = read_meta(binary.with_suffix(".meta"))
    folder = {"folder_path": str(binary.parent)}
    device = meta.get("typeThis")
    if device == "nidq":
        return "SpikeGLXNIDQInterface", folder
    # The original path may be a Windows one.
    stream = ".".join(meta.get("fileName", "").replace("\\", "/").rsplit("/", 1)[-1].split(".")[-3:-1])
    if device == "imec" and stream:
        return "SpikeGLXRecordingInterface", {**folder, "stream_id": stream}
    raise SourceError(
        f"a SpikeGLX file must be of an imec or nidq device, got typeThis={device}, "
        f"fileName={meta.get('fileName')}",
        where=str(binary.with_suffix(".meta")),
        remedy="Name the neuroconv class that reads it with --interface",
    )


def _check_all_spikeglx(source: Path) -> None:
    binaries = find_spikeglx(source) if source.is_dir() else [source.with_suffix(".bin")]
    if not binaries:
        raise SourceError(
            "a SpikeGLX folder holds .bin and .meta files, this one has none",
            where=str(source),
            remedy="Give the folder of the run, such as NAME_g0",
        )
    for binary in binaries:
        check_spikeglx(binary)


def _class(name: str) -> Any:
    """Return the class of neuroconv that is called ``name``."""
    try:
        interfaces = importlib.import_module("neuroconv.datainterfaces")
        converters = importlib.import_module("neuroconv.converters")
    except ImportError as error:
        raise SourceError(
            f"reading a vendor's format needs neuroconv, which cannot be imported: {error}",
            remedy='Install it with: pip install "parnwb[convert]"',
        ) from error
    kinds = [*interfaces.interface_list, *converters.converter_list]
    by_name = {kind.__name__: kind for kind in kinds}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=3, cutoff=0.4) or sorted(by_name)
        raise SourceError(
            f"an interface must be a class of neuroconv, got {name!r}",
            remedy=f"Did you mean {', '.join(near)}?",
        )
    return by_name[name]


def _arguments(kind: Any, source: Path, options: Options) -> dict[str, Any]:
    """Return the arguments to open ``source`` with, options read as the signature says."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    unknown = [name for name in options if name not in parameters]
    if unknown:
        raise SourceError(
            f"{kind.__name__} has no option {', '.join(map(repr, unknown))}",
            remedy=f"Its options are {', '.join(parameters)}",
        )
    arguments = {name: _value(name, text, parameters[name].annotation) for name, text in options.items()}
    if not any(name in arguments for name in _PATH_OPTIONS):
        arguments.update(_path_argument(kind, source, parameters))
    missing = [name for name, it in parameters.items() if it.default is it.empty and name not in arguments]
    if missing:
        raise SourceError(
            f"{kind.__name__} needs the option {', '.join(map(repr, missing))}",
            where=str(source),
            remedy=" ".join(f"--option {name}=..." for name in missing),
        )
    return arguments


def _path_argument(kind: Any, source: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the source under the name that the class takes it by."""
    if source.is_dir():
        choices: dict[str, Any] = {"folder_path": str(source), "file_path": str(source)}
    else:
        choices = {"file_path": str(source), "file_paths": [str(source)], "folder_path": str(source.parent)}
    for name, value in choices.items():
        if name in parameters:
            return {name: value}
    raise SourceError(
        f"{kind.__name__} takes its source by none of {', '.join(_PATH_OPTIONS)}",
        where=str(source),
        remedy=f"Give it with --option; the options are {', '.join(parameters)}",
    )


def _value(name: str, text: str, annotation: Any) -> Any:
    """Read an option: text where text is wanted (a stream called 0), otherwise YAML."""
    import yaml

    if annotation in (str, "str") or name in ("folder_path", "file_path"):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SourceError(
            f"an option must be a YAML scalar or list, got {name}={text!r}",
            remedy="Quote special characters, and write lists as [a, b]",
        ) from error


def _run(call: Callable[[], T], rule: str, source: Path | str) -> T:
    """Call into neuroconv; whatever it raises becomes one SourceError that says what was being done."""
    try:
        return call()
    except SourceError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise SourceError(
            f"{rule}: {type(error).__name__}: {text}",
            where=str(source),
            remedy="Check the source, the options and the metadata",
        ) from error
