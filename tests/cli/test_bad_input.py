"""Bad input to the commands, under mpiexec: one message whatever the rank count, a status, and no file."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from mpi_launch import run_mpi

from parnwb.recordings.made_recording import make_spikeglx_recording

pytestmark = pytest.mark.mpi_skip

PROGRAM = Path(__file__).parent / "program.py"
RANKS = 3
DATASET = "/acquisition/ElectricalSeriesAP/data"


@dataclass(frozen=True)
class Given:
    """What a case may damage and use: a copy of a recording, a folder for output, and good files.

    The plain one has no filters, and checksums beside it.
    """

    folder: Path
    run: Path
    good: Path
    plain: Path

    @property
    def binary(self) -> Path:
        return next(self.run.rglob("*.ap.bin"))

    @property
    def meta(self) -> Path:
        return next(self.run.rglob("*.ap.meta"))

    @property
    def output(self) -> Path:
        return self.folder / "out.nwb"

    def text(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def edit_meta(self, key: str, value: str | None) -> None:
        lines = self.meta.read_text().splitlines()
        kept = [line for line in lines if not line.startswith(f"{key}=")]
        self.meta.write_text("\n".join(kept + ([f"{key}={value}"] if value is not None else [])) + "\n")


@dataclass(frozen=True)
class Case:
    """A command line, its exit status and what the one message must say; on standard output for findings."""

    name: str
    argv: Callable[[Given], list[Any]]
    status: int
    says: tuple[str, ...]
    makes: bool = False


CASES: list[Case] = []


def case(status: int, *says: str, makes: bool = False) -> Callable[[Any], Any]:
    def register(function: Callable[[Given], list[Any]]) -> Callable[[Given], list[Any]]:
        CASES.append(Case(function.__name__, function, status, says, makes))
        return function

    return register


def simple(name: str, status: int, *says: str, argv: Callable[[Given], list[Any]]) -> None:
    CASES.append(Case(name, argv, status, says))


# -- sources ---------------------------------------------------------------------------------------------


@case(1, "must exist", "nowhere", "Check the path")
def missing_source(given: Given) -> list[Any]:
    return ["convert", given.folder / "nowhere", given.output]


@case(1, r"\.bin is missing", r"\.ap\.bin", "Copy the .bin")
def missing_bin(given: Given) -> list[Any]:
    given.binary.unlink()
    return ["convert", given.run, given.output]


@case(1, r"needs its \.meta", r"\.ap\.meta", "Copy the .meta")
def missing_meta(given: Given) -> list[Any]:
    given.meta.unlink()
    return ["convert", given.run, given.output]


@case(1, "fileSizeBytes=", "truncated", r"\.ap\.bin", "Copy the file again")
def truncated_bin(given: Given) -> list[Any]:
    os.truncate(given.binary, given.binary.stat().st_size - 770)
    return ["convert", given.run, given.output]


@case(1, "fileSizeBytes=", "truncated", r"\.ap\.bin")
def truncated_bin_of_a_named_interface(given: Given) -> list[Any]:
    os.truncate(given.binary, 7700)
    stream = ["--option", "stream_id=imec0.ap"]
    return ["convert", given.binary.parent, given.output, "--interface", "SpikeGLXRecordingInterface", *stream]


@case(1, "fileSizeBytes=", "padded", r"\.ap\.bin")
def padded_bin(given: Given) -> list[Any]:
    with given.binary.open("ab") as file:
        file.write(b"\0" * 770)
    return ["convert", given.run, given.output]


@case(1, "whole samples", "not a positive multiple|are not", r"\.ap\.bin")
def bin_of_part_of_a_sample(given: Given) -> list[Any]:
    os.truncate(given.binary, given.binary.stat().st_size - 1)
    given.edit_meta("fileSizeBytes", str(given.binary.stat().st_size))
    return ["convert", given.binary, given.output]


@case(1, "whole samples|fileSizeBytes", r"\.ap\.bin")
def empty_bin(given: Given) -> list[Any]:
    os.truncate(given.binary, 0)
    given.edit_meta("fileSizeBytes", "0")
    return ["convert", given.run, given.output]


@case(1, "fileSizeBytes=999", r"\.ap\.bin")
def meta_with_another_size(given: Given) -> list[Any]:
    given.edit_meta("fileSizeBytes", "999")
    return ["convert", given.run, given.output]


@case(1, "nSavedChans=383", r"\.ap\.meta", "Restore")
def meta_with_another_channel_count(given: Given) -> list[Any]:
    given.edit_meta("nSavedChans", "383")
    return ["convert", given.run, given.output]


@case(1, "nSavedChans", "many", r"\.ap\.meta")
def meta_with_text_for_a_number(given: Given) -> list[Any]:
    given.edit_meta("nSavedChans", "many")
    return ["convert", given.run, given.output]


@case(1, r"\.ap\.(meta|bin)")
def meta_of_garbage(given: Given) -> list[Any]:
    given.meta.write_bytes(bytes(range(256)) * 10)
    return ["convert", given.run, given.output]


@case(1, "known format", r"notes\.txt", "--interface")
def source_is_no_recording(given: Given) -> list[Any]:
    return ["convert", given.text("notes.txt", "not a recording"), given.output]


@case(1, "known format", "--interface")
def source_is_an_empty_folder(given: Given) -> list[Any]:
    (given.folder / "empty").mkdir()
    return ["convert", given.folder / "empty", given.output]


@case(1, "must be a class of neuroconv", "SpikeGLXRecordingInterfase", "Did you mean SpikeGLXRecordingInterface")
def unknown_interface(given: Given) -> list[Any]:
    return ["convert", given.run, given.output, "--interface", "SpikeGLXRecordingInterfase"]


@case(1, "IntanRecordingInterface cannot open the source", r"demo_g0")
def interface_of_another_format(given: Given) -> list[Any]:
    return ["convert", given.run, given.output, "--interface", "IntanRecordingInterface"]


@case(1, "has no option 'colour'", "Its options are", "folder_path")
def unknown_option(given: Given) -> list[Any]:
    return ["convert", given.run, given.output, "--option", "colour=red"]


@case(2, "KEY=VALUE", "colour")
def option_without_value(given: Given) -> list[Any]:
    return ["convert", given.run, given.output, "--option", "colour"]


@case(1, "YAML", "streams")
def option_of_broken_yaml(given: Given) -> list[Any]:
    return ["convert", given.run, given.output, "--option", "streams=[a, b"]


# -- metadata --------------------------------------------------------------------------------------------


def with_metadata(given: Given, text: str) -> list[Any]:
    return ["convert", given.run, given.output, "--metadata", given.text("metadata.yaml", text)]


@case(1, "readable YAML", r"nowhere\.yaml")
def metadata_missing(given: Given) -> list[Any]:
    return ["convert", given.run, given.output, "--metadata", given.folder / "nowhere.yaml"]


@case(1, "mapping", "got list", r"metadata\.yaml", "NWBFile:")
def metadata_is_a_list(given: Given) -> list[Any]:
    return with_metadata(given, "- a\n- b\n")


@case(1, "mapping", "got NoneType", r"metadata\.yaml")
def metadata_is_empty(given: Given) -> list[Any]:
    return with_metadata(given, "")


@case(1, "readable YAML", r"metadata\.yaml")
def metadata_is_broken(given: Given) -> list[Any]:
    return with_metadata(given, "NWBFile: {session_description: [unclosed\n")


@case(1, "readable YAML", "python", r"metadata\.yaml")
def metadata_with_a_python_object(given: Given) -> list[Any]:
    evil = given.folder / "executed.nwb"
    return with_metadata(given, f"NWBFile: !!python/object/apply:os.system ['touch {evil}']\n")


@case(1, "ISO 8601", "yesterday")
def metadata_with_a_bad_time(given: Given) -> list[Any]:
    return with_metadata(given, "NWBFile: {session_start_time: yesterday}\n")


@case(1, "NWBFile", "mapping|section|metadata")
def metadata_with_a_number_for_a_section(given: Given) -> list[Any]:
    return with_metadata(given, "NWBFile: 5\n")


@case(1, "Subject|sex|NWBFile of the source cannot be built")
def metadata_that_pynwb_refuses(given: Given) -> list[Any]:
    return with_metadata(given, "Subject: {subject_id: [1, 2], sex: 5}\n")


# -- output ----------------------------------------------------------------------------------------------


@case(1, "the report cannot be written", "/proc/report.html", "Choose a folder that may be written to")
def report_folder_takes_nothing(given: Given) -> list[Any]:
    return ["convert", given.run, given.output, "--report", "/proc/report.html"]


@case(1, "output folder must exist", "missing", "Create it")
def output_folder_missing(given: Given) -> list[Any]:
    return ["convert", given.run, given.folder / "missing" / "out.nwb"]


@case(1, "exists", r"precious\.nwb", "--overwrite")
def output_exists(given: Given) -> list[Any]:
    return ["convert", given.run, given.text("precious.nwb", "the only copy")]


@case(1, "must be a file, not a folder")
def output_is_a_folder(given: Given) -> list[Any]:
    return ["convert", given.run, given.folder, "--overwrite"]


@case(1, "source", r"\.ap\.bin")
def output_is_the_source(given: Given) -> list[Any]:
    return ["convert", given.binary, given.binary, "--overwrite"]


# -- settings --------------------------------------------------------------------------------------------

for _name, _flags, _says in (
    ("compression_name", ["--compression", "lzf"], ("compression must be", "'lzf'")),
    ("compression_level", ["--compression", "12"], ("compression must be", "12")),
    ("compression_superscript", ["--compression", "²"], ("compression must be", "²")),
    ("backend", ["--backend", "netcdf"], ("backend must be", "'netcdf'")),
    ("transfer", ["--transfer", "both"], ("transfer must be", "'both'")),
    ("resume_with_mpio", ["--resume", "--backend", "mpio"], ("'mpio' cannot resume", "Use backend='direct'")),
    ("decomposition", ["--decomposition", "dice"], ("decomposition must be", "'dice'")),
    ("buffer_zero", ["--buffer-mb", "0"], ("buffer_mb must be positive", "0")),
    ("buffer_nan", ["--buffer-mb", "nan"], ("buffer_mb must be positive", "nan")),
):
    simple(f"setting_{_name}", 1, *_says, argv=lambda given, flags=_flags: ["convert", given.run, given.output, *flags])

for _name, _argv, _says in (
    ("unknown_command", ["convrt"], ("No such command", "convrt")),
    ("missing_argument", ["convert", "a"], ("Missing argument", "OUTPUT")),
    ("metadata_for_nothing", ["verify", "a", "--metadata", "b"], ("--metadata", "--against")),
    ("interface_for_nothing", ["verify", "a", "--interface", "B"], ("--interface", "--against")),
    ("option_for_nothing", ["verify", "a", "--option", "b=c"], ("--option says", "--against")),
):
    simple(f"usage_{_name}", 2, *_says, argv=lambda given, argv=_argv: argv)

# -- verify ----------------------------------------------------------------------------------------------


@case(1, "cannot be opened", r"nowhere\.nwb")
def verify_missing(given: Given) -> list[Any]:
    return ["verify", given.folder / "nowhere.nwb"]


@case(1, "cannot be opened", r"text\.nwb")
def verify_text(given: Given) -> list[Any]:
    return ["verify", given.text("text.nwb", "not HDF5 at all")]


@case(1, "a folder is no NWB file", "verify_folder")
def verify_folder(given: Given) -> list[Any]:
    return ["verify", given.folder]


@case(1, "partial file is not complete", r"out\.nwb\.partial")
def verify_partial(given: Given) -> list[Any]:
    return ["verify", given.text("out.nwb.partial", "")]


def _copy(given: Given) -> Path:
    return Path(shutil.copy(given.good, given.folder / "copy.nwb"))


@case(1, "cannot be opened", "truncated", r"copy\.nwb")
def verify_truncated(given: Given) -> list[Any]:
    copy = _copy(given)
    os.truncate(copy, copy.stat().st_size // 2)
    return ["verify", copy]


def _copy_with_checksums(given: Given) -> Path:
    copy = given.folder / "copy.nwb"
    shutil.copy(f"{given.plain}.crc", f"{copy}.crc")
    return Path(shutil.copy(given.plain, copy))


def _change(path: Path, address: int, change: Callable[[bytes], bytes], size: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(address)
        piece = file.read(size)
        file.seek(address)
        file.write(change(piece))


def _flip_one_bit(path: Path) -> None:
    address, size = _first_chunk(path)
    _change(path, address + size // 3, lambda byte: bytes([byte[0] ^ 1]))


@case(1, rf"{DATASET}\[0:\d+, \d+:\d+\]: the \d+ bytes at \d+ of the file are not what was written", "BAD")
def verify_flipped_bit_of_an_unfiltered_chunk(given: Given) -> list[Any]:
    copy = _copy_with_checksums(given)
    _flip_one_bit(copy)
    return ["verify", copy]


@case(0, "GOOD")
def verify_flipped_bit_that_nobody_can_see(given: Given) -> list[Any]:
    copy = _copy_with_checksums(given)
    Path(f"{copy}.crc").unlink()
    _flip_one_bit(copy)
    return ["verify", copy]


@case(0, "GOOD", r"[1-9]\d* checksums compared")
def verify_with_checksums(given: Given) -> list[Any]:
    return ["verify", given.plain]


@case(1, r"(?s)(not what was written.*){2}", "BAD")
def verify_two_chunks_swapped(given: Given) -> list[Any]:
    copy = _copy_with_checksums(given)
    with h5py.File(copy) as file:
        infos = [file[DATASET].id.get_chunk_info(number) for number in (0, 1)]
    assert infos[0].size == infos[1].size
    content = copy.read_bytes()
    for info, other in zip(infos, reversed(infos), strict=True):
        piece = content[other.byte_offset : other.byte_offset + other.size]
        _change(copy, info.byte_offset, lambda _, piece=piece: piece, info.size)
    return ["verify", copy]


@case(1, r"copy\.nwb\.crc: the checksums are damaged themselves", "Remove it", "BAD")
def verify_damaged_checksums(given: Given) -> list[Any]:
    copy = _copy_with_checksums(given)
    _change(Path(f"{copy}.crc"), 100, lambda byte: bytes([byte[0] ^ 128]))
    return ["verify", copy]


@case(1, r"copy\.nwb\.crc: describes another file", "BAD")
def verify_stale_checksums(given: Given) -> list[Any]:
    copy = _copy_with_checksums(given)
    shutil.copy(given.good, copy)
    return ["verify", copy]


def _first_chunk(path: Path) -> tuple[int, int]:
    with h5py.File(path) as file:
        info = file[DATASET].id.get_chunk_info(0)
        return info.byte_offset, info.size


@case(1, rf"{DATASET}\[0:\d+, \d+:\d+\]", "cannot be read", "BAD")
def verify_flipped_bytes_in_a_chunk(given: Given) -> list[Any]:
    copy = _copy(given)
    address, size = _first_chunk(copy)
    with copy.open("r+b") as file:
        file.seek(address + size // 2)
        piece = file.read(64)
        file.seek(address + size // 2)
        file.write(bytes(255 - byte for byte in piece))
    return ["verify", copy]


@case(1, rf"{DATASET}\[\d+:\d+, \d+:\d+\]", "never written", "BAD")
def verify_missing_chunk(given: Given) -> list[Any]:
    copy = _copy(given)
    with h5py.File(copy, "r+") as file:
        old = file[DATASET]
        kept = np.zeros(old.shape, old.dtype)
        attributes = dict(old.attrs)
        chunks = old.chunks
        del file[DATASET]
        new = file.create_dataset(DATASET, shape=kept.shape, dtype=kept.dtype, chunks=chunks, compression="gzip")
        new.attrs.update(attributes)
        new[: chunks[0], : chunks[1]] = 1
    return ["verify", copy]


@case(1, r"is not a valid NWB file|[Mm]issing", "BAD")
def verify_hdf5_that_is_not_nwb(given: Given) -> list[Any]:
    with h5py.File(given.folder / "plain.nwb", "w") as file:
        file["numbers"] = np.arange(10)
    return ["verify", given.folder / "plain.nwb"]


@case(1, rf"{DATASET}\[\d+:\d+, \d+:\d+\]", "differ from the source", "first at", "BAD")
def verify_against_another_recording(given: Given) -> list[Any]:
    other = make_spikeglx_recording(given.folder / "other", megabytes=2, seed=5)
    return ["verify", given.good, "--against", other]


@case(1, rf"{DATASET}\[0:\d+, 0:\d+\]", "has shape", "in the source", "BAD")
def verify_against_a_longer_recording(given: Given) -> list[Any]:
    other = make_spikeglx_recording(given.folder / "other", megabytes=3)
    return ["verify", given.good, "--against", other]


@case(1, "must exist", "nowhere")
def verify_against_nothing(given: Given) -> list[Any]:
    return ["verify", given.good, "--against", given.folder / "nowhere"]


@case(1, "truncated", r"\.ap\.bin")
def verify_against_a_truncated_recording(given: Given) -> list[Any]:
    os.truncate(given.binary, 7700)
    return ["verify", given.good, "--against", given.run]


# -- how they are run ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run all cases in one launch of several ranks, after the conversion that makes the good file."""
    top = tmp_path_factory.mktemp("cli")
    good, plain = top / "good.nwb", top / "plain.nwb"
    flags = ["--compression", "none", "--manifest"]
    cases = [{"name": "good", "argv": ["convert", str(recording), str(good)]}]
    cases += [{"name": "plain", "argv": ["convert", str(recording), str(plain), *flags]}]
    results: dict[str, Any] = {}
    prepared = [("good", good)]
    for ranks in (1, RANKS):
        listed = top / f"cases{ranks}.json"
        listed.write_text(json.dumps(cases))
        environment = {"PYTHONPATH": python_path()}
        try:
            done = run_mpi(ranks, [sys.executable, PROGRAM, listed], timeout=150, env=environment)
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            results |= {line["name"]: line["outcomes"] for line in lines}
            ended = f"exit status {done.returncode}: {done.stderr[-3000:]}"
        except AssertionError as hang:
            ended = str(hang)
        results["ended"] = ended
        if ranks == 1:
            cases, prepared = prepare(recording, good, plain, top)
    results["after"] = {name: listing(folder) for name, folder in prepared}
    results["before"] = {name: json.loads((top / f"{name}.before").read_text()) for name, _ in prepared}
    return results


def prepare(
    recording: Path, good: Path, plain: Path, top: Path
) -> tuple[list[dict[str, Any]], list[tuple[str, Path]]]:
    """Give each case a folder with a copy of the recording, and return the command lines."""
    cases, folders = [], []
    for item in CASES:
        folder = top / item.name
        shutil.copytree(recording, folder / recording.name)
        argv = [str(part) for part in item.argv(Given(folder, folder / recording.name, good, plain))]
        (top / f"{item.name}.before").write_text(json.dumps(listing(folder)))
        cases.append({"name": item.name, "argv": argv})
        folders.append((item.name, folder))
    return cases, folders


def listing(folder: Path) -> dict[str, list[int]]:
    """Return every file below a folder with its size and time of change."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): [path.stat().st_size, path.stat().st_mtime_ns] for path in files}


def python_path() -> str:
    return os.pathsep.join(filter(None, [str(PROGRAM.parents[2]), os.environ.get("PYTHONPATH")]))


@pytest.mark.parametrize("item", CASES, ids=lambda item: item.name)
def test_bad_input(item: Case, results: dict[str, Any]) -> None:
    assert item.name in results, f"{item.name} did not come to its end: {results['ended']}"
    outcomes = results[item.name]
    said = [one["err"] + one["out"] for one in outcomes]
    assert [one["status"] for one in outcomes] == [item.status] * RANKS, said
    assert not any("Traceback" in text for text in said), said
    assert said[1:] == [""] * (RANKS - 1), "ranks other than the first have spoken too"
    assert len(messages(said[0])) == 1, f"not one message: {said[0]}"
    for pattern in item.says:
        assert re.search(pattern, said[0]), f"not said: {pattern}\n{said[0]}"
    assert results["after"][item.name] == results["before"][item.name], "files have changed"


def messages(text: str) -> list[str]:
    """Return the lines that tell of an error, parnwb's own or click's, and verdicts."""
    errors = (line for line in text.splitlines() if line.startswith(("parnwb:", "Error:", "BAD:", "GOOD:")))
    return [line for line in errors if not line.startswith("parnwb: warning:")]


def test_good_conversion(results: dict[str, Any]) -> None:
    assert results["good"][0]["status"] == 0, results["good"]


def test_program_ends(results: dict[str, Any]) -> None:
    assert results["ended"].startswith("exit status 0"), results["ended"]
