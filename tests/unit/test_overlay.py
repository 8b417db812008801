"""The overlay: a file in memory that forgets payload, against a plain array of bytes and real files."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parnwb.overlay import LARGE_WRITE, Overlay

SPACE = 300
places = st.integers(0, SPACE - 1)
pieces = st.binary(min_size=1, max_size=60)


def address_of(buffer: np.ndarray) -> int:
    return int(buffer.__array_interface__["data"][0])


def write_at(overlay: Overlay, place: int, data: object) -> None:
    overlay.seek(place)
    assert overlay.write(data) == len(data)
    assert overlay.tell() == place + len(data)


def read_at(overlay: Overlay, place: int, length: int) -> bytes:
    buffer = bytearray(b"\xaa" * length)
    overlay.seek(place)
    assert overlay.readinto(buffer) == length
    assert overlay.tell() == place + length
    return bytes(buffer)


class OverlayAgainstBytes(RuleBasedStateMachine):
    """Whatever is done, it reads as an array of bytes would, and holds what was kept and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.overlay = Overlay()
        self.bytes = bytearray(2 * SPACE)
        self.kept = np.zeros(2 * SPACE, dtype=bool)
        self.end = 0
        self.payload: list[tuple[int, int]] = []
        self.announced: np.ndarray | None = None

    def _remember(self, place: int, data: bytes) -> None:
        self.bytes[place : place + len(data)] = data
        self.kept[place : place + len(data)] = True
        self.end = max(self.end, place + len(data))

    def _forget(self, low: int, high: int) -> None:
        self.bytes[low:high] = bytes(max(0, min(high, 2 * SPACE) - low))
        self.kept[low:high] = False

    @rule(place=places, data=pieces)
    def write(self, place: int, data: bytes) -> None:
        write_at(self.overlay, place, data)
        self._remember(place, data)

    @rule(place=places, data=pieces)
    def write_next_to_the_last_extent(self, place: int, data: bytes) -> None:
        """HDF5 writes many neighbours; they must neither melt wrongly nor hide each other."""
        edges = np.flatnonzero(np.diff(self.kept))
        if len(edges):
            place = int(edges[place % len(edges)]) + 1
        if place < SPACE:
            write_at(self.overlay, place, data)
            self._remember(place, data)

    @rule(place=places)
    def write_nothing(self, place: int) -> None:
        write_at(self.overlay, place, b"")
        self.end = max(self.end, place)

    @rule(place=places, length=st.integers(0, 200))
    def read(self, place: int, length: int) -> None:
        assert read_at(self.overlay, place, length) == self.bytes[place : place + length]

    @rule(low=places, length=st.integers(0, 150))
    def discard(self, low: int, length: int) -> None:
        self.overlay.discard(low, low + length)
        self._forget(low, low + length)

    @rule(size=places, by_position=st.booleans())
    def truncate(self, size: int, by_position: bool) -> None:
        """A shorter file loses its tail for good, a longer one gains zeros, as on a disk."""
        self.overlay.seek(size)
        assert self.overlay.truncate(None if by_position else size) == size
        self.end = size
        self._forget(size, 2 * SPACE)

    @rule(data=pieces)
    def announce(self, data: bytes) -> None:
        self.announced = np.frombuffer(data, np.uint8).copy()
        self.overlay.expect(address_of(self.announced), len(data))

    @precondition(lambda self: self.announced is not None)
    @rule(place=places)
    def payload_comes(self, place: int) -> None:
        data = self.announced
        write_at(self.overlay, place, data)
        self.payload.append((place, len(data)))
        self._forget(place, place + len(data))
        self.end = max(self.end, place + len(data))
        self.announced = None

    @precondition(lambda self: self.announced is not None)
    @rule(place=places)
    def decoy_of_the_same_length(self, place: int) -> None:
        decoy = self.announced.copy()
        write_at(self.overlay, place, decoy)
        self._remember(place, decoy.tobytes())

    @precondition(lambda self: self.announced is not None and len(self.announced) > 1)
    @rule(place=places)
    def decoy_at_the_same_address(self, place: int) -> None:
        decoy = self.announced[:-1]
        write_at(self.overlay, place, decoy)
        self._remember(place, decoy.tobytes())

    @precondition(lambda self: self.announced is not None)
    @rule(place=places)
    def payload_comes_twice(self, place: int) -> None:
        """Nobody has announced the second: it is metadata that happens to lie in the same memory."""
        data = self.announced
        self.payload_comes(place)
        write_at(self.overlay, place, data)
        self._remember(place, data.tobytes())

    @invariant()
    def holds_what_was_kept_and_no_more(self) -> None:
        kept = np.zeros_like(self.kept)
        last = -1
        for place, data in self.overlay.extents():
            assert place > last, "neighbours are joined, and in order"
            assert data == self.bytes[place : place + len(data)]
            kept[place : place + len(data)] = True
            last = place + len(data)
        assert np.array_equal(kept, self.kept)

    @invariant()
    def end_payload_and_expectation_agree(self) -> None:
        assert self.overlay.end == self.end
        assert self.overlay.payload == self.payload
        assert self.overlay.expecting == (self.announced is not None)
        assert self.overlay.seek(0, io.SEEK_END) == self.end


OverlayAgainstBytes.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOverlayAgainstBytes = OverlayAgainstBytes.TestCase


# -- as a file object ----------------------------------------------------------------------------------------


def test_is_a_file_that_can_all():
    overlay = Overlay()
    assert overlay.readable() and overlay.writable() and overlay.seekable()
    overlay.flush()
    assert (overlay.end, overlay.tell(), list(overlay.extents())) == (0, 0, [])


def test_unwritten_bytes_read_as_zeros_over_what_was_in_the_buffer():
    overlay = Overlay()
    write_at(overlay, 10, b"abc")
    assert read_at(overlay, 8, 8) == b"\0\0abc\0\0\0"
    assert read_at(overlay, 1 << 50, 4) == bytes(4)


def test_seek_from_everywhere():
    overlay = Overlay()
    write_at(overlay, 0, bytes(20))
    assert overlay.seek(5) == 5
    assert overlay.seek(3, io.SEEK_CUR) == 8
    assert overlay.seek(-4, io.SEEK_END) == 16


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda raw: np.frombuffer(raw, "<i2")])
def test_takes_all_kinds_of_buffers(make):
    overlay = Overlay()
    overlay.seek(4)
    overlay.write(make(b"12345678"))
    assert list(overlay.extents()) == [(4, b"12345678")]


def test_what_was_written_is_a_copy():
    overlay, data = Overlay(), bytearray(b"abc")
    overlay.write(data)
    data[:] = b"xyz"
    assert list(overlay.extents()) == [(0, b"abc")]


def test_payload_costs_no_memory_even_beyond_a_terabyte():
    overlay, payload = Overlay(), np.ones(1 << 20, np.uint8)
    for number in range(200):
        overlay.expect(address_of(payload), len(payload))
        write_at(overlay, (1 << 40) + number * len(payload), payload)
    assert len(overlay.payload) == 200 and list(overlay.extents()) == []
    assert overlay.end == (1 << 40) + 200 * len(payload)


def test_large_writes_are_dropped_while_space_is_reserved():
    overlay = Overlay()
    write_at(overlay, 0, b"before")
    overlay.reserving = True
    write_at(overlay, 1000, bytes(LARGE_WRITE))
    write_at(overlay, 100, b"metadata")
    overlay.reserving = False
    write_at(overlay, 500_000, bytes(LARGE_WRITE))
    assert overlay.dropped == [(1000, LARGE_WRITE)]
    assert [(place, len(data)) for place, data in overlay.extents()] == [
        (0, 6),
        (100, 8),
        (500_000, LARGE_WRITE),
    ]


def test_payload_takes_the_place_of_freed_metadata():
    """HDF5 gives freed space out again: bytes from before must not be written over the chunk in the end."""
    overlay, payload = Overlay(), np.full(50, 9, np.uint8)
    write_at(overlay, 0, b"m" * 100)
    overlay.expect(address_of(payload), len(payload))
    write_at(overlay, 30, payload)
    assert list(overlay.extents()) == [(0, b"m" * 30), (80, b"m" * 20)]


def test_many_extents_are_quick():
    """Thousands of B-tree nodes between chunks, each written several times."""
    overlay = Overlay()
    for number in range(20_000):
        write_at(overlay, number * 5000, b"n" * 544)
        write_at(overlay, number // 2 * 5000, b"m" * 544)
    assert sum(1 for _ in overlay.extents()) == 20_000


# -- with HDF5 itself ----------------------------------------------------------------------------------------


def contiguous_with_fill(file: h5py.File) -> None:
    file.create_dataset("whole", (300, 70), "<f8", fillvalue=1.5)[10:20] = 3
    file.create_dataset("unfilled", (9, 9), "<i4", fillvalue=-1)


def thousands_of_chunks(file: h5py.File) -> None:
    dataset = file.create_dataset("x", (4000, 3), "<i2", chunks=(2, 1))
    dataset[...] = np.arange(12_000).reshape(4000, 3)


def rewritten_chunks(file: h5py.File) -> None:
    dataset = file.create_dataset("x", (5000,), "<i8", chunks=(1000,), compression="gzip")
    random = np.random.default_rng(0)
    for bits in (2, 60, 8, 30):  # larger and smaller each time: chunks move, and their old places are free
        dataset[...] = random.integers(0, 1 << bits, 5000)
        file.flush()


def growing(file: h5py.File) -> None:
    dataset = file.create_dataset("x", (0, 5), "<u2", maxshape=(None, 5), chunks=(64, 5), shuffle=True)
    for size in (10, 100, 1000, 2000):
        dataset.resize(size, axis=0)
        dataset[size // 2 :] = size
    dataset.resize(700, axis=0)


def attributes_and_strings(file: h5py.File) -> None:
    for number in range(60):
        group = file.create_group(f"group/{'long' * 20}{number}")
        group.attrs["text"] = "µV " * number * 20
        group.attrs["many"] = np.arange(number * 50)
    file["strings"] = ["a" * n for n in range(500)]
    file["link"] = h5py.SoftLink("/strings")
    file["reference"] = np.array([file["group"].ref] * 3, dtype=h5py.ref_dtype)


def removed_and_made_again(file: h5py.File) -> None:
    for number in range(20):
        file.create_dataset("x", data=np.full(3000 + 50 * number, number))
        file[f"y{number}"] = np.arange(100 * number)
        del file["x"]
        file.flush()


PROGRAMS = [
    contiguous_with_fill,
    thousands_of_chunks,
    rewritten_chunks,
    growing,
    attributes_and_strings,
    removed_and_made_again,
]


def content(file: h5py.File) -> dict[str, object]:
    """Everything that a reader sees."""
    seen: dict[str, object] = {}

    def note(name: str, item: h5py.Dataset | h5py.Group) -> None:
        seen[name] = sorted((key, np.asarray(value).tolist()) for key, value in item.attrs.items())
        if isinstance(item, h5py.Dataset):
            values = [file[ref].name for ref in item] if h5py.check_ref_dtype(item.dtype) else item[...]
            fill = item.fillvalue if item.dtype.kind in "iuf" else None
            seen[f"{name}="] = (np.asarray(values).tolist(), item.shape, item.maxshape, item.chunks, fill)

    file.visititems(note)
    return seen


def saved(overlay: Overlay, path: Path) -> Path:
    """Write an overlay down as the direct backend does."""
    with path.open("wb") as stream:
        for place, data in overlay.extents():
            stream.seek(place)
            stream.write(data)
        stream.truncate(overlay.end)
    return path


@pytest.mark.parametrize("libver", ["earliest", "v110"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_hdf5_writes_what_it_writes_to_a_real_file(program, libver, tmp_path):
    overlay = Overlay()
    with h5py.File(overlay, "w", libver=libver) as file:
        program(file)
        while_open = content(file)
    with h5py.File(tmp_path / "real.h5", "w", libver=libver) as file:
        program(file)
        expected = content(file)
    with h5py.File(saved(overlay, tmp_path / "saved.h5"), "r") as file:
        assert content(file) == expected == while_open


@pytest.mark.parametrize("program", PROGRAMS)
def test_hdf5_goes_on_with_what_an_overlay_holds(program, tmp_path):
    """Opened again in the same memory, changed and saved."""
    overlay = Overlay()
    with h5py.File(overlay, "w") as file:
        program(file)
        before = content(file)
    with h5py.File(overlay, "r+") as file:
        assert content(file) == before
        file.create_dataset("added", data=np.arange(5000), chunks=(100,), compression="lzf")
    with h5py.File(saved(overlay, tmp_path / "saved.h5"), "r") as file:
        after = content(file)
        assert after.pop("added=")[0] == list(range(5000)) and after.pop("added") == []
        assert after == before


def test_nothing_lies_beyond_the_end():
    overlay = Overlay()
    with h5py.File(overlay, "w") as file:
        removed_and_made_again(file)
    assert all(place + len(data) <= overlay.end for place, data in overlay.extents())
