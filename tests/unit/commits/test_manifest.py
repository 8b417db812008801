"""Checksums beside a file: that they are those of its bytes, and that they never vouch for another file."""

from __future__ import annotations

import json
import os
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from crc32c import crc32c
from failure.resuming import Stop, commits_every, partial_of, session, stopped_at, write, write_plainly

from parnwb.commits.manifest import METADATA, Manifest
from parnwb.errors import ParnwbError, TargetError, VerificationError
from parnwb.hyperslab import unravel
from parnwb.layout import ChunkGrid
from parnwb.verification import verify

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.nwb"


def beside(path: Path) -> Path:
    return path.with_name(path.name + ".crc")


def assert_right(path: Path) -> Manifest:
    """Check a manifest against the bytes of the file and against what h5py says of its chunks."""
    manifest, content = Manifest.read(beside(path)), path.read_bytes()
    assert manifest.file == path.name and manifest.size == len(content)
    described = np.zeros(len(content), dtype=bool)
    for _, _, address, nbytes, _, checksum in manifest.records.tolist():
        assert not described[address : address + nbytes].any(), "two records have bytes in common"
        described[address : address + nbytes] = True
        assert crc32c(content[address : address + nbytes]) == checksum
    assert not np.frombuffer(content, np.uint8)[~described].any(), "bytes were written that have no checksum"
    with h5py.File(path) as file:
        assert file.attrs["object_id"] == manifest.object_id
        for number, (name, grid) in enumerate(manifest.datasets):
            records = {row[1]: tuple(row[2:5]) for row in manifest.records.tolist() if row[0] == number}
            assert len(records) == grid.size
            dataset = file[name]
            if dataset.chunks is None:
                continue
            for position, place in records.items():
                index = unravel(position, grid.extent)
                info = dataset.id.get_chunk_info_by_coord(tuple(np.multiply(index, grid.chunk).tolist()))
                assert (info.byte_offset, info.size, info.filter_mask) == place
    assert METADATA in manifest.records[:, 0]
    return manifest


def begin(path: Path, **settings: object) -> None:
    with commits_every(3), stopped_at(20), pytest.raises(Stop):
        write(path, session(), "w", commit_interval=1, **settings)


def test_a_manifest_describes_every_byte(path: Path) -> None:
    write(path, session(), "w", manifest=True)
    assert_right(path)
    assert {item.name for item in path.parent.iterdir()} == {path.name, beside(path).name}
    verdict = verify(path)
    assert verdict.ok and verdict.checksums == len(Manifest.read(beside(path)).records)


def test_without_the_option_there_is_none(path: Path) -> None:
    write(path, session(), "w")
    assert not beside(path).exists()
    assert verify(path).checksums == 0


@pytest.mark.parametrize("first", [False, True])
def test_after_a_resume_it_has_the_chunks_of_all_attempts(path: Path, first: bool) -> None:
    """Whether or not the first attempt was asked for one."""
    begin(path, manifest=first)
    assert not beside(path).exists()
    write(path, session(), manifest=True)
    assert_right(path)
    assert verify(path).ok


def test_it_survives_a_rename_of_both(path: Path) -> None:
    write(path, session(), "w", manifest=True)
    moved = path.with_name("moved.nwb")
    beside(path).rename(beside(moved))
    path.rename(moved)
    assert verify(moved).ok and verify(moved).checksums


# -- never for another file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("manifest", [False, True])
def test_it_goes_with_the_file_that_is_replaced(path: Path, manifest: bool) -> None:
    write(path, session(), "w", manifest=True)
    old = beside(path).read_bytes()
    write(path, session(seed=1), "w", overwrite=True, manifest=manifest)
    assert beside(path).exists() == manifest
    if manifest:
        assert beside(path).read_bytes() != old
        assert_right(path)


def test_a_failed_attempt_to_replace_leaves_both(path: Path) -> None:
    write(path, session(), "w", manifest=True)
    before = {item: item.read_bytes() for item in path.parent.iterdir()}
    with stopped_at(5), pytest.raises(Stop):
        write(path, session(seed=1), "w", overwrite=True, manifest=True)
    assert {item: item.read_bytes() for item in path.parent.iterdir()} == before
    assert verify(path).ok


def test_one_that_is_left_over_is_not_replaced_without_leave(path: Path) -> None:
    beside(path).write_text("somebody's")
    with pytest.raises(TargetError, match="checksums of an earlier file"):
        write(path, session(), "w")
    assert beside(path).read_text() == "somebody's" and not path.exists()


def test_nothing_is_written_through_symlinks(path: Path) -> None:
    precious = path.with_name("precious")
    precious.write_text("precious")
    for link in (beside(path), partial_of(path).with_name(partial_of(path).name + ".crc")):
        link.symlink_to(precious)
    write(path, session(), "w", overwrite=True, manifest=True)
    assert precious.read_text() == "precious"
    assert not beside(path).is_symlink()
    assert_right(path)


def test_the_file_of_another_object_is_told_apart(path: Path) -> None:
    write(path, session(), "w", manifest=True)
    path.unlink()
    write_plainly(path, session())
    (finding,) = verify(path).findings
    assert finding.path == beside(path).name and "describes another file" in finding.what


def test_a_file_that_was_changed_since_is_told_apart(path: Path) -> None:
    nwbfile = session(movie=False)
    write(path, nwbfile, "w", manifest=True)
    stale = beside(path).read_bytes()
    write(path, nwbfile, "w", overwrite=True, compression="gzip")  # the same NWBFile, hence the same object
    beside(path).write_bytes(stale)
    assert any("was written" in finding.what for finding in verify(path).findings)


@pytest.mark.parametrize("what", ["rename", "naming"])
def test_a_process_that_ends_amid_the_names_leaves_it_to_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    real = os.replace

    def refused(source: Path, target: Path) -> None:
        if (Path(target) == path) == (what == "rename"):
            raise OSError(5, "no")
        real(source, target)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(ParnwbError, match="renamed"):
        write(path, session(), "w", manifest=True)
    monkeypatch.undo()
    assert not beside(path).exists()
    write(path, session(), manifest=True)
    assert_right(path)
    assert {item.name for item in path.parent.iterdir()} == {path.name, beside(path).name}


# -- damage, and what is refused -------------------------------------------------------------------------------


def test_a_damaged_manifest_is_never_believed(path: Path) -> None:
    write(path, session(1), "w", manifest=True)
    whole = beside(path).read_bytes()
    rng = random.Random(3)
    flips = [lambda data: data[: rng.randrange(len(data))], lambda data: data + b"x", lambda _: b""]

    def flipped(data: bytes) -> bytes:
        place = rng.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]

    cases: list[Callable[[bytes], bytes]] = [*flips, *[flipped] * 40]
    for damage in cases:
        beside(path).write_bytes(damage(whole))
        with pytest.raises(VerificationError, match="damaged"):
            Manifest.read(beside(path))
    (finding,) = verify(path).findings
    assert finding.path == beside(path).name and "damaged" in finding.what


def signed(head: dict[str, Any], rows: bytes) -> bytes:
    text = json.dumps(head).encode()
    content = b"parnwbC1" + struct.pack("<Q", len(text)) + text + rows
    return content + struct.pack("<I", crc32c(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda head, rows: (head | {"records": head["records"] + 1}, rows),
        lambda head, rows: (head | {"size": "many"}, rows),
        lambda head, rows: (head | {"datasets": head["datasets"][:-1]}, rows),
        lambda head, rows: (head | {"datasets": [{"path": 5}]}, rows),
        lambda head, rows: (head | {"datasets": [{**one, "cell": [0]} for one in head["datasets"]]}, rows),
        lambda head, rows: ({}, rows),
        lambda head, rows: (head, rows[:-8]),
        lambda head, rows: (head, rows[:-40] + struct.pack("<q", -5) + rows[-32:]),
        lambda head, rows: (head, struct.pack("<qq", 0, 10**9) + rows[16:]),
    ],
)
def test_a_manifest_that_makes_no_sense_though_its_checksum_is_right(
    path: Path, change: Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]
) -> None:
    write(path, session(1), "w", manifest=True)
    content = beside(path).read_bytes()
    (length,) = struct.unpack_from("<Q", content, 8)
    head, rows = json.loads(content[16 : 16 + length]), content[16 + length : -4]
    assert signed(head, rows) == content
    beside(path).write_bytes(signed(*change(head, rows)))
    (finding,) = verify(path).findings
    assert finding.path == beside(path).name and "make no sense" in finding.what


def test_a_million_chunks_take_little_time(tmp_path: Path) -> None:
    count = 1_000_000
    records = np.arange(6 * count, dtype=np.int64).reshape(-1, 6)
    records[:, 0], records[:, 1] = 0, np.arange(count)
    manifest = Manifest("big.nwb", 10**12, "id", (("/x", ChunkGrid((count,), (1,))),), records)
    began = time.monotonic()
    manifest.write(tmp_path / "big.nwb.crc")
    assert np.array_equal(Manifest.read(tmp_path / "big.nwb.crc").records, records)
    assert time.monotonic() - began < 20


def test_parallel_hdf5_has_no_checksums(path: Path) -> None:
    with pytest.raises(ParnwbError, match="'mpio' cannot leave a manifest"):
        write(path, session(), "w", backend="mpio", manifest=True)
    assert not list(path.parent.iterdir())
