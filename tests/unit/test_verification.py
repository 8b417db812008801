"""Damage to a finished file on disk: what is found, with dataset and hyperslab, on one rank."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from failure.resuming import session, write
from hdmf.common import DynamicTable, VectorData
from pynwb import H5DataIO, NWBFile

from parnwb.errors import ParnwbError, VerificationError
from parnwb.finding import Finding
from parnwb.hyperslab import Hyperslab
from parnwb.index import chunk_index, missing_chunks
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.planning.plan import Buffer, WritePlan
from parnwb.verification import MOST_READERS, _parts_of_others, verify

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
UNFILTERED = "/acquisition/chunked/data"
FILTERED = "/acquisition/filtered/data"
CONTIGUOUS = "/acquisition/bare/data"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with checksums beside it."""
    path = tmp_path / "out.nwb"
    write(path, session(), "w", manifest=True)
    assert verify(path).ok
    return path


def beside(path: Path) -> Path:
    return path.with_name(path.name + ".crc")


def place(path: Path, name: str, number: int) -> tuple[Hyperslab, int, int]:
    """Return a chunk's elements, address and length, as h5py tells them."""
    with h5py.File(path) as file:
        dataset = file[name]
        info = dataset.id.get_chunk_info(number)
        count = [min(c, n - a) for a, c, n in zip(info.chunk_offset, dataset.chunks, dataset.shape, strict=True)]
        return Hyperslab(tuple(info.chunk_offset), tuple(count)), info.byte_offset, info.size


def flip(path: Path, address: int, bit: int = 3) -> None:
    with path.open("r+b") as file:
        file.seek(address)
        byte = file.read(1)[0]
        file.seek(address)
        file.write(bytes([byte ^ 1 << bit]))


def found(path: Path) -> list[tuple[str, Hyperslab | None]]:
    return [(finding.path, finding.slab) for finding in verify(path, validate=False).findings]


def test_the_disk_is_read_and_not_what_the_kernel_remembers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both roads to the bytes: HDF5's, and that of the checksums."""
    forgotten = set()
    fadvise, pread = os.posix_fadvise, os.pread

    def posix_fadvise(descriptor: int, offset: int, length: int, advice: int) -> None:
        assert (offset, length, advice) == (0, 0, os.POSIX_FADV_DONTNEED)
        assert os.readlink(f"/proc/self/fd/{descriptor}") == str(path)
        forgotten.add(Path(sys._getframe(1).f_code.co_filename).name)
        fadvise(descriptor, offset, length, advice)

    def read(*where: int) -> bytes:
        assert "stored.py" in forgotten, "checksums of what the kernel remembers prove nothing"
        return pread(*where)

    monkeypatch.setattr(os, "posix_fadvise", posix_fadvise)
    monkeypatch.setattr(os, "pread", read)
    assert verify(path, validate=False).ok
    assert forgotten == {"words.py", "stored.py"}


def test_one_bit_of_an_unfiltered_chunk(path: Path) -> None:
    """No filter checks it: the values are as good as any others without the checksums."""
    slab, address, _ = place(path, UNFILTERED, 4)
    flip(path, address + 17)
    assert found(path) == [(UNFILTERED, slab)]
    beside(path).unlink()
    assert found(path) == []


def test_a_chunk_that_does_not_decode_is_named_among_those_that_are_read_with_it(path: Path) -> None:
    beside(path).unlink()
    slab, address, size = place(path, FILTERED, 3)
    for at in range(size // 2, size):
        flip(path, address + at)
    assert found(path) == [(FILTERED, slab)]


def test_one_bit_of_a_contiguous_dataset(path: Path) -> None:
    with h5py.File(path) as file:
        dataset = file[CONTIGUOUS]
        address, row = dataset.id.get_offset(), 4 * dataset.shape[1]
    flip(path, address + 1111 * row)
    ((name, slab),) = found(path)
    assert name == CONTIGUOUS and slab is not None
    assert slab.start[0] <= 1111 < slab.stop[0] and slab.count[0] < 300


def test_one_bit_of_the_padding_of_a_chunk_at_the_edge(path: Path) -> None:
    """It belongs to no element, and is a stored byte all the same."""
    slab, address, nbytes = place(path, UNFILTERED, 2)
    assert nbytes > slab.size * 8
    flip(path, address + nbytes - 1)
    assert found(path) == [(UNFILTERED, slab)]


def test_one_bit_of_metadata(path: Path) -> None:
    flip(path, path.read_bytes().index(b"resuming"))
    findings = verify(path, validate=False).findings
    assert [finding.path for finding in findings] == ["/"]
    assert "metadata and small datasets" in findings[0].what


def test_two_chunks_whose_bytes_are_swapped(path: Path) -> None:
    slabs, addresses, sizes = zip(*(place(path, UNFILTERED, number) for number in (0, 3)), strict=True)
    assert sizes[0] == sizes[1]
    content = bytearray(path.read_bytes())
    first, second = (slice(address, address + sizes[0]) for address in addresses)
    content[first], content[second] = content[second], content[first]
    path.write_bytes(content)
    assert sorted(found(path)) == sorted((UNFILTERED, slab) for slab in slabs)


def test_chunks_that_the_index_has_exchanged(path: Path) -> None:
    """HDF5 itself writes one chunk anew, with the values of another."""
    slab, address, _ = place(path, FILTERED, 1)
    with h5py.File(path, "r+") as file:
        other = file[FILTERED].id.read_direct_chunk(place(path, FILTERED, 2)[0].start)[1]
        assert len(other) != place(path, FILTERED, 1)[2]
        file[FILTERED].id.write_direct_chunk(slab.start, other)
    findings = verify(path, validate=False).findings
    (moved,) = (finding for finding in findings if finding.path == FILTERED and "the index of the file" in finding.what)
    assert moved.slab == slab and f" at {address} when it was written" in moved.what


@pytest.mark.parametrize("manifest", [True, False])
def test_entries_that_the_index_lacks(path: Path, manifest: bool) -> None:
    with h5py.File(path, "r+") as file:
        dataset = file[UNFILTERED]
        rows, cut = dataset.shape[0], dataset.chunks[0] * 5
        dataset.resize(cut, axis=0)
        dataset.resize(rows, axis=0)
        chunk, width = dataset.chunks, dataset.shape[1]
    if not manifest:
        beside(path).unlink()
    first = Hyperslab((cut, 0), (chunk[0], chunk[1]))
    findings = [finding for finding in verify(path, validate=False).findings if finding.path == UNFILTERED]
    lacking = -(-(rows - cut) // chunk[0]) * -(-width // chunk[1])
    assert findings[0] == Finding(UNFILTERED, first, f"{lacking} of 33 chunks were never written")
    named = [finding.slab for finding in findings if "has no place" in finding.what]
    assert len(named) == (lacking if manifest else 0)
    assert not manifest or named[0] == first


def test_a_dataset_that_is_gone(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file[UNFILTERED]
    assert (UNFILTERED, None) in found(path)


@pytest.mark.parametrize("keep", [0.999, 0.5])
def test_a_truncated_file(path: Path, keep: float) -> None:
    os.truncate(path, int(path.stat().st_size * keep))
    with pytest.raises(VerificationError, match="cannot be opened"):
        verify(path)


@pytest.mark.parametrize("content", [None, b"", b"no HDF5" * 1000])
def test_what_is_no_file_of_hdf5_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "out.nwb"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(VerificationError, match="a folder is no NWB file" if content is None else "cannot be") as found:
        verify(path)
    assert "\n" not in str(found.value) and found.value.where == str(path)


def test_watchdog_must_be_a_time(tmp_path):
    with pytest.raises(ParnwbError, match="watchdog must be a number of seconds"):
        verify(tmp_path / "out.nwb", watchdog="soon")



def test_bytes_behind_the_end(path: Path) -> None:
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"more")
    (finding,) = verify(path, validate=False).findings
    assert f"has {size + 4} bytes, {size}" in finding.what


# -- strings and compounds -------------------------------------------------------------------------------------


def with_table(rows: int) -> NWBFile:
    nwbfile = session(1, movie=False)
    for row in range(rows // 200):
        nwbfile.add_epoch(float(row), row + 0.5, tags=["a", f"b{row}"], timeseries=[nwbfile.acquisition["bare"]])
    words = [f"word number {row} of a column of strings" for row in range(rows)]
    names = VectorData(name="words", description="d", data=H5DataIO(words, chunks=(100,), maxshape=(None,)))
    nwbfile.add_acquisition(DynamicTable(name="table", description="d", columns=[names]))
    return nwbfile


WORDS = "/acquisition/table/words"


def test_strings_and_compounds_are_read_in_bounded_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.nwb"
    write(path, with_table(2000), "w")
    read: dict[str, list[int]] = {}
    real = h5py.Dataset.__getitem__

    def watched(self: h5py.Dataset, selection: object, *rest: object) -> object:
        values = real(self, selection, *rest)
        read.setdefault(self.name, []).append(np.size(values))
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", watched)
    assert verify(path, buffer_mb=0.02, validate=False).ok
    assert sum(read[WORDS]) == 2000 and max(read[WORDS]) <= 200
    assert sum(read["/intervals/epochs/timeseries"]) == 10


def test_strings_whose_chunks_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "out.nwb"
    write(path, with_table(1000), "w")
    with h5py.File(path, "r+") as file:
        file[WORDS].resize(700, axis=0)
        file[WORDS].resize(1000, axis=0)
    (finding,) = verify(path, validate=False).findings
    assert finding == Finding(WORDS, Hyperslab((700,), (100,)), "3 of 10 chunks were never written")


def test_strings_that_cannot_be_read(tmp_path: Path) -> None:
    """Their bytes are in heaps elsewhere in the file; the entries are damaged to point nowhere."""
    path = tmp_path / "out.nwb"
    write(path, with_table(1000), "w")
    slab, address, nbytes = place(path, WORDS, 4)
    with path.open("r+b") as file:
        file.seek(address)
        file.write(b"\x55" * nbytes)
    (finding,) = verify(path, validate=False, buffer_mb=0.01).findings
    assert finding.path == WORDS and finding.slab is not None and finding.slab.contains(slab)
    assert finding.slab.count[0] < 1000 and "cannot be read" in finding.what


def test_a_scalar_that_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.nwb"
    write(path, session(1), "w")
    with h5py.File(path, "r+") as file:
        file["scratch/nothing"] = h5py.Empty("f4")
        file["scratch/scalar"] = "text"
        file.create_dataset("scratch/no_rows", shape=(0, 3), dtype="i2")
    assert verify(path, validate=False).ok


# -- the index -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latest", [False, True])
@pytest.mark.parametrize("unlimited", [0, 1, 2])
def test_the_index_is_read_whatever_its_type(tmp_path: Path, latest: bool, unlimited: int) -> None:
    """HDF5 has six kinds of index, by the limits of a dataset and the version of the file."""
    maxshape = (None,) * unlimited + (30,) * (2 - unlimited)
    with h5py.File(tmp_path / "a.h5", "w", libver="latest" if latest else "earliest") as file:
        dataset = file.create_dataset("x", shape=(30, 30), maxshape=maxshape, chunks=(7, 4), dtype="i2")
        assert missing_chunks(dataset)[0].slab == Hyperslab((0, 0), (7, 4))
        for start in ((0, 0), (0, 4), (21, 28), (28, 8)):
            dataset.id.write_direct_chunk(start, bytes(56))
        file.flush()
        entries = chunk_index(dataset)
        assert entries[:, 0].tolist() == [0, 1, 3 * 8 + 7, 4 * 8 + 2]
        for position, address, nbytes, mask in entries.tolist():
            info = dataset.id.get_chunk_info_by_coord((position // 8 * 7, position % 8 * 4))
            assert (info.byte_offset, info.size, info.filter_mask) == (address, nbytes, mask)
        (finding,) = missing_chunks(dataset)
        assert finding == Finding("/x", Hyperslab((0, 8), (7, 4)), "36 of 40 chunks were never written")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(h5py.h5d.DatasetID, "chunk_iter"), reason="this HDF5 counts chunks from the first")
def test_the_index_of_a_hundred_thousand_chunks_takes_seconds(tmp_path: Path) -> None:
    chunks = 100_000
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", shape=(chunks,), chunks=(1,), dtype="i1", maxshape=(None,))
        for start in range(chunks - 1):
            dataset.id.write_direct_chunk((start,), b"x")
    with h5py.File(tmp_path / "a.h5") as file:
        began = time.monotonic()
        (finding,) = missing_chunks(file["x"])
        assert time.monotonic() - began < 10
    assert finding.slab == Hyperslab((chunks - 1,), (1,))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 12])
def test_parts_are_dealt_out_to_others(size: int) -> None:
    """Each exactly once, none to the rank that a slab plan gives it to, and those of one rank to several."""
    specs = [
        DatasetSpec(f"/{name}", (rows, 10), (rows, 10), "<i2", (100, 10)) for name, rows in (("a", 9000), ("b", 150))
    ]
    plan = WritePlan(FileLayout(tuple(specs)), size, "slab", buffer_mb=200 * 20 / 2**20)
    owners = {buffer: rank for rank in range(size) for buffer in plan.buffers(rank)}
    readers: dict[Buffer, int] = {}
    for rank in range(size):
        for buffer in _parts_of_others(SimpleNamespace(rank=rank, size=size, is_root=rank == 0), plan):
            assert buffer not in readers
            readers[buffer] = rank
    assert readers.keys() == owners.keys()
    assert size == 1 or all(readers[buffer] != owner for buffer, owner in owners.items())
    of_first = {readers[buffer] for buffer, owner in owners.items() if owner == 0}
    assert len(of_first) == max(1, min(size - 1, MOST_READERS, len(list(plan.buffers(0)))))
