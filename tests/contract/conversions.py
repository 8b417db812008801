"""Conversions of neuroconv's: two interfaces in one file, filtered, configured, added to a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from neuroconv import ConverterPipe
from neuroconv.datainterfaces import (
    CsvTimeIntervalsInterface,
    SpikeGLXRecordingInterface,
    TiffImagingInterface,
)
from neuroconv.tools.nwb_helpers import get_default_backend_configuration, make_nwbfile_from_metadata
from neuroconv.utils import dict_deep_update
from spikeinterface.preprocessing import highpass_filter

from parnwb.recordings.made_recording import make_spikeglx_recording
from parnwb.site import parallel_hdf5

CHANNELS, ROWS = 384, 2000
# One block of the read grid, and one buffer of neuroconv's: else filtered values differ at the borders.
GRID_BYTES = ROWS * CHANNELS * 2
BLOCKS = {"chunk_shape": (500, CHANNELS // 4), "buffer_shape": (ROWS, CHANNELS)}
METADATA = {
    "NWBFile": {
        "session_description": "two interfaces",
        "identifier": "the same in every process",
        "session_start_time": "2024-03-05T10:15:30+01:00",
        "source_script": "a test",
        "source_script_file_name": "a_test.py",
    },
    "Subject": {"subject_id": "m 1", "species": "Mus musculus", "sex": "F", "age": "P90D"},
}
WITHOUT_SUBJECT = {"NWBFile": METADATA["NWBFile"]}
SPECIFICATION = """\
metadata:
  NWBFile:
    identifier: the same in every process
    session_description: from YAML
    source_script: a test
    source_script_file_name: a_test.py
    keywords: [one]
data_interfaces:
  AP: SpikeGLXRecordingInterface
  Trials: CsvTimeIntervalsInterface
  Movie: TiffImagingInterface
experiments:
  day:
    metadata:
      NWBFile:
        session_start_time: "2024-03-05T10:15:30+01:00"
        keywords: [two]
    sessions:
      - nwbfile_name: ephys.nwb
        source_data:
          AP: {folder_path: demo_g0/demo_g0_imec0, stream_id: imec0.ap}
          Trials: {file_path: trials.csv}
        metadata:
          NWBFile: {session_id: first, keywords: [three]}
          Subject: {subject_id: m1, species: Mus musculus, sex: F, age: P90D}
        conversion_options:
          Trials: {tag: epochs}
      - nwbfile_name: movie
        source_data:
          Movie: {file_paths: [movie.tif], sampling_frequency: 30.0}
          Trials: {file_path: trials.csv}
        metadata:
          NWBFile: {session_id: second}
"""


def over_extracted(converter: Any, inputs: Path, given: Any = METADATA) -> dict[str, Any]:
    """Return the metadata that a converter extracts with ours over them, as neuroconv's users write it."""
    if converter is None:
        return {"metadata": METADATA}
    has_formats = "use_new_metadata_format" in signature(converter.get_metadata).parameters
    extracted = converter.get_metadata(**({"use_new_metadata_format": True} if has_formats else {}))
    return {"metadata": dict_deep_update(extracted, given)}


@dataclass(frozen=True)
class Case:
    """One call of run_conversion.

    Parameters
    ----------
    converter
        Makes the interface or converter, from the folder of inputs.
    arguments
        Its other arguments, from the converter (None where a rank has none) and the folder of inputs.
    everywhere
        Whether every rank has the converter, or the root alone.
    existing
        File of the inputs that is added to.
    settings
        Of parnwb's alone.
    """

    converter: Callable[[Path], Any]
    arguments: Callable[[Any, Path], Mapping[str, Any]] = over_extracted
    everywhere: bool = True
    existing: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def prepare_conversions(folder: Path) -> None:
    """Create the files that the interfaces read."""
    make_spikeglx_recording(folder, megabytes=6)
    rows = "\n".join(f"{n / 100},{n / 100 + 0.005},{'left' if n % 3 else 'right'}" for n in range(40))
    (folder / "trials.csv").write_text(f"start_time,stop_time,side\n{rows}\n")
    tifffile.imwrite(folder / "movie.tif", np.random.default_rng(1).integers(0, 4096, (61, 24, 32), dtype="u2"))
    (folder / "sessions.yml").write_text(SPECIFICATION)
    interface = trials(folder)
    interface.run_conversion(nwbfile_path=folder / "trials.nwb", **over_extracted(interface, folder))


def recording(inputs: Path) -> Any:
    return SpikeGLXRecordingInterface(folder_path=inputs / "demo_g0" / "demo_g0_imec0", stream_id="imec0.ap")


def trials(inputs: Path) -> Any:
    return CsvTimeIntervalsInterface(file_path=inputs / "trials.csv")


def movie(inputs: Path) -> Any:
    return TiffImagingInterface(file_paths=[inputs / "movie.tif"], sampling_frequency=30.0)


def recording_and_trials(inputs: Path) -> Any:
    return ConverterPipe({"ap": recording(inputs), "trials": trials(inputs)})


def movie_and_trials(inputs: Path) -> Any:
    return ConverterPipe([movie(inputs), trials(inputs)])


def filtered(inputs: Path) -> Any:
    interface = recording(inputs)
    interface.recording_extractor = highpass_filter(interface.recording_extractor)
    return ConverterPipe({"ap": interface, "trials": trials(inputs)})


def in_blocks(converter: Any, inputs: Path) -> dict[str, Any]:
    options = {"ap": {"iterator_options": BLOCKS}, "trials": {"column_descriptions": {"side": "where it went"}}}
    return {**over_extracted(converter, inputs), "conversion_options": options}


def configured(converter: Any, inputs: Path) -> dict[str, Any]:
    """Every dataset in smaller chunks, with shuffle and another level."""
    given = over_extracted(converter, inputs)
    configuration = get_default_backend_configuration(converter.create_nwbfile(**given), "hdf5")
    series = configuration.dataset_configurations["acquisition/ElectricalSeriesAP/data"]
    series.chunk_shape, series.buffer_shape = (1000, 128), (7000, CHANNELS)
    series.compressors, series.compressor_options = ["shuffle", "gzip"], [None, {"level": 2}]
    return {**given, "backend_configuration": configuration}


def in_memory(converter: Any, inputs: Path) -> dict[str, Any]:
    nwbfile = make_nwbfile_from_metadata(METADATA) if converter is not None else None
    return {"nwbfile": nwbfile, **over_extracted(converter, inputs, WITHOUT_SUBJECT)}


def appending(converter: Any, inputs: Path) -> dict[str, Any]:
    return {**over_extracted(converter, inputs, WITHOUT_SUBJECT), "append_on_disk_nwbfile": True}


def elsewhere(converter: Any, inputs: Path) -> dict[str, Any]:
    """An interface's conversion option, as a keyword."""
    return {**over_extracted(converter, inputs), "parent_container": "processing/ophys"}


CASES: dict[str, Case] = {
    "two_interfaces": Case(recording_and_trials),
    "root_only": Case(recording_and_trials, everywhere=False),
    "filtered": Case(filtered, in_blocks),
    "images": Case(movie_and_trials),
    "one_interface": Case(movie, elsewhere),
    "configured": Case(recording_and_trials, configured),
    "in_memory": Case(recording_and_trials, in_memory),
    "in_memory_root_only": Case(recording, in_memory, everywhere=False),
    "appended": Case(recording, appending, existing="trials.nwb"),
    "appended_images": Case(movie, appending, existing="trials.nwb"),
}
if parallel_hdf5():
    CASES["mpio"] = Case(recording_and_trials, settings={"parallel_backend": "mpio"})
