"""neuroconv's YAML conversion specification: read, checked, and taken apart into sessions."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from parnwb.errors import SourceError
from parnwb.recordings.interfaces import ask_neuroconv, extracted_metadata, import_neuroconv, interface_class
from parnwb.recordings.metadata import load_yaml, warn_of_unknown_sections


@dataclass(frozen=True)
class Session:
    """One session of a specification: what makes one file.

    Parameters
    ----------
    place
        Where it stands, for messages.
    interfaces
        Classes of neuroconv, by the names that the specification gives them.
    source_data
        Arguments for each interface that the session has, paths made whole.
    metadata
        To be merged over what the interfaces extract, one after another.
    common_options, options
        Conversion options for every interface, and those by the name of an interface.
    nwbfile_name
        As the specification says it, or None.
    """

    place: str
    interfaces: Mapping[str, str]
    source_data: Mapping[str, Mapping[str, Any]]
    metadata: tuple[Mapping[str, Any], ...]
    common_options: Mapping[str, Any]
    options: Mapping[str, Mapping[str, Any]]
    nwbfile_name: str | None = None

    def open(self) -> Any:
        """Return the converter of all interfaces of this session.

        Raises
        ------
        SourceError
            An interface is not one of neuroconv's, or cannot be opened.
        """
        from neuroconv import NWBConverter

        kinds = {name: interface_class(kind) for name, kind in self.interfaces.items()}
        warn_of_unknown_sections(self.source_data, kinds, "source_data")
        warn_of_unknown_sections(self.options, kinds, "conversion_options")
        converter = type("SpecifiedConverter", (NWBConverter,), {"data_interface_classes": kinds})
        source_data = copy.deepcopy(dict(self.source_data))  # neuroconv writes into it
        return ask_neuroconv(lambda: converter(source_data=source_data), "the session cannot be opened", self.place)

    def merged_metadata(self, converter: Any) -> dict[str, Any]:
        """Return the metadata of the file: what the interfaces extract, and the specification over it."""
        from neuroconv.utils import dict_deep_update

        merged = extracted_metadata(converter, self.place)
        for given in self.metadata:
            merged = dict_deep_update(merged, given)
        found: dict[str, Any] = merged
        return found

    def conversion_options(self, converter: Any) -> dict[str, dict[str, Any]]:
        """Return the conversion options of each interface; the session's own win."""
        names = converter.data_interface_objects
        return {name: {**self.common_options, **self.options.get(name, {})} for name in names}

    def file_name(self, metadata: Mapping[str, Any]) -> str:
        """Return the name of the file, from ``nwbfile_name`` or else from ``metadata``.

        Raises
        ------
        SourceError
            The metadata have no subject, or neither a session's id nor its start.
        """
        if self.nwbfile_name is not None:
            return self.nwbfile_name.removesuffix(".nwb") + ".nwb"
        subject = metadata.get("Subject", {}).get("subject_id")
        session = metadata["NWBFile"].get("session_id") or _day_and_time(metadata["NWBFile"].get("session_start_time"))
        if not subject or not session:
            missing = "Subject: subject_id" if not subject else "NWBFile: session_id"
            raise SourceError(
                f"a file without nwbfile_name is named after its subject and session, and there is no {missing}",
                where=self.place,
                remedy="Add it to the metadata, or give the session an nwbfile_name",
            )
        return f"sub-{_in_a_name(subject)}_ses-{_in_a_name(session)}.nwb"


def read_specification(path: Path, data_folder: Path | None = None) -> list[Session]:
    """Return the sessions of a specification, in its order.

    Parameters
    ----------
    path
        The YAML file.
    data_folder
        Where relative paths in it begin; None for the file's own folder.

    Raises
    ------
    SourceError
        The file is not a specification by neuroconv's schema, asks for an upload, or names two files alike.
    """
    specification = load_yaml(path, "a conversion specification", "experiments")
    if "upload_to_dandiset" in specification:
        raise SourceError(
            "parnwb converts and does not upload, and the specification asks for it with upload_to_dandiset",
            where=str(path),
            remedy="Remove that line, and run 'dandi upload' afterwards",
        )
    _check_schema(specification, path)
    sessions = list(_sessions(specification, path, data_folder or path.parent))
    names = [session.file_name({}) for session in sessions if session.nwbfile_name is not None]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SourceError(
            f"each session makes a file of its own, and two have the nwbfile_name {twice!r}",
            where=str(path),
            remedy="Give them different names",
        )
    return sessions


def _sessions(specification: Mapping[str, Any], path: Path, data_folder: Path) -> Iterator[Session]:
    for name, experiment in specification["experiments"].items():
        for number, session in enumerate(experiment["sessions"], 1):
            parts = (specification, experiment, session)
            yield Session(
                place=f"{path}, experiment {name}, session {number}",
                interfaces=specification.get("data_interfaces", {}),
                source_data={key: _whole(given, data_folder) for key, given in session["source_data"].items()},
                metadata=tuple(part["metadata"] for part in parts if "metadata" in part),
                common_options=specification.get("conversion_options", {}),
                options=session.get("conversion_options", {}),
                nwbfile_name=session.get("nwbfile_name"),
            )


def _whole(arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return an interface's arguments, its paths begun at ``folder``."""
    found = dict(arguments)
    for name in {"file_path", "folder_path"} & set(found):
        found[name] = str(folder / found[name])
    if "file_paths" in found:
        found["file_paths"] = [str(folder / item) for item in found["file_paths"]]
    return found


def _check_schema(specification: Mapping[str, Any], path: Path) -> None:
    """Refuse what neuroconv's own schema refuses."""
    neuroconv = import_neuroconv("neuroconv")
    from jsonschema import Draft7Validator
    from jsonschema.exceptions import best_match
    from referencing import Registry, Resource

    folder = Path(str(neuroconv.__file__)).parent / "schemas"
    schemas = {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("yaml_conversion_specification_schema", "metadata_schema")
    }
    registry = Registry().with_resource("metadata_schema.json", Resource.from_contents(schemas["metadata_schema"]))
    schema = schemas["yaml_conversion_specification_schema"]
    error = best_match(Draft7Validator(schema, registry=registry).iter_errors(specification))
    if error is not None:
        raise SourceError(
            f"a conversion specification must follow neuroconv's schema: {error.message}",
            where=f"{path}, {error.json_path.removeprefix('$.')}",
            remedy="Correct it there",
        )


def _day_and_time(start: Any) -> str:
    if isinstance(start, str):
        start = datetime.fromisoformat(start.replace("Z", "+00:00"))
    return start.strftime("%Y%m%dT%H%M%S") if isinstance(start, datetime) else ""


def _in_a_name(value: Any) -> str:
    """Return a value without the characters that separate parts of a file's name, or folders."""
    return re.sub(r"[^A-Za-z0-9+-]", "-", str(value))
