"""From a vendor's recording to an NWBFile, through neuroconv's data interfaces and converters.

Nothing large is read here: the NWBFile that comes out holds lazy iterators, to be read by ``parnwb.sources``.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from parnwb.errors import SourceError
from parnwb.recordings.metadata import merge, settle_start_time, warn_of_unknown_parts, warn_of_unknown_sections
from parnwb.sources.spikeglx import check_spikeglx, find_spikeglx, read_meta

if TYPE_CHECKING:
    from pynwb import NWBFile

T = TypeVar("T")

Options = Mapping[str, str]
# For which Python on no neuroconv can be installed.
NO_NEUROCONV_FROM = (3, 14)

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
    kind = interface_class(interface)
    arguments = _arguments(kind, path, {**recognised, **(options or {})})
    return ask_neuroconv(lambda: kind(**arguments), f"{interface} cannot open the source", path)


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
    extracted = extracted_metadata(opened, source)
    if metadata:
        schema = metadata_schema(opened)
        warn_of_unknown_sections(metadata, {"NWBFile", "Subject", *schema.get("properties", {}), *extracted})
        warn_of_unknown_parts(metadata, schema, extracted, options or {})
    merged = merge(extracted, metadata or {})
    settle_start_time(merged, source)
    return ask_neuroconv(
        lambda: opened.create_nwbfile(metadata=merged), "the NWBFile of the source cannot be built", source
    )


def extracted_metadata(opened: Any, source: Path | str | None = None) -> Any:
    """Return what an interface or converter finds out by itself, in neuroconv's newer format. Independent."""
    has_formats = "use_new_metadata_format" in inspect.signature(opened.get_metadata).parameters
    return ask_neuroconv(
        lambda: opened.get_metadata(**({"use_new_metadata_format": True} if has_formats else {})),
        "the metadata of the source cannot be read",
        source,
    )


def metadata_schema(opened: Any) -> Mapping[str, Any]:
    """Return the JSON schema of the metadata for an interface or converter. Independent."""
    schema: Mapping[str, Any] = ask_neuroconv(
        opened.get_metadata_schema, "the schema of the metadata cannot be read", None
    )
    return schema


def ask_neuroconv(call: Callable[[], T], rule: str, source: Path | str | None) -> T:
    """Call into neuroconv; whatever it raises becomes one SourceError that says what was being done. Independent."""
    try:
        return call()
    except SourceError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise SourceError(
            f"{rule}: {type(error).__name__}: {text}",
            where=str(source) if source is not None else None,
            remedy="Check the source, the options and the metadata",
        ) from error


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


def import_neuroconv(module: str) -> Any:
    """Import a module of neuroconv. Independent.

    Raises
    ------
    SourceError
        It cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SourceError(
            f"reading a vendor's format needs neuroconv, which cannot be imported: {error}",
            remedy=_how_to_install(sys.version_info[:2]),
        ) from error


def _how_to_install(python: tuple[int, ...]) -> str:
    if python >= NO_NEUROCONV_FROM:
        return (
            "neuroconv 0.10 needs numcodecs below 0.16, which is not to be had for Python 3.14 and newer: take Python "
            "3.10 to 3.13 for conversions. Writing from Python, verify and repack work here"
        )
    return 'Install it with: pip install "parnwb[convert]"'


def interface_class(name: str) -> Any:
    """Return the interface or converter of neuroconv that is called ``name``. Independent.

    Raises
    ------
    SourceError
        There is none, or no neuroconv.
    """
    interfaces, converters = map(import_neuroconv, ("neuroconv.datainterfaces", "neuroconv.converters"))
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
