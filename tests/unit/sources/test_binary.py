"""Flat binary files, compared with numpy's own reading of them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import parnwb.sources.binary as binary
from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources import as_source, file_ranges, read_beside, read_checked, read_pieces, reads_whole_rows
from parnwb.sources.array import ArraySource, CastSource
from parnwb.sources.binary import BinarySource

RELAXED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def parts(draw: st.DrawFn) -> tuple[tuple[int, ...], Hyperslab]:
    """Draw a shape of one to five axes and a box in it that is not empty."""
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=5)))
    start = tuple(draw(st.integers(0, extent - 1)) for extent in shape)
    count = tuple(draw(st.integers(1, extent - low)) for extent, low in zip(shape, start, strict=True))
    return shape, Hyperslab(start, count)


@RELAXED
@given(
    part=parts(),
    dtype=st.sampled_from(["<i2", ">i2", "u1", "<f4", ">f8", "?", "c8"]),
    offset=st.integers(0, 9),
    piece=st.sampled_from([1, 16, 2**20]),
    wide=st.sampled_from([0, 8, 2**18]),
)
def test_any_box_of_any_file(
    tmp_path: Path,
    part: tuple[tuple[int, ...], Hyperslab],
    dtype: str,
    offset: int,
    piece: int,
    wide: int,
) -> None:
    shape, box = part
    values = (np.arange(np.prod(shape)) % 251).astype(dtype).reshape(shape)
    path = tmp_path / "file.bin"
    path.write_bytes(b"x" * offset + values.tobytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binary, "PIECE_BYTES", piece)
        patch.setattr(binary, "WIDE_ROW_BYTES", wide)
        read = BinarySource(path, np.dtype(dtype), shape, offset).read(box)
    assert read.dtype == values.dtype and read.flags.c_contiguous
    assert np.array_equal(read, values[box.slices])


@RELAXED
@given(
    data=st.data(), rows=st.integers(1, 40), width=st.integers(1, 12), piece=st.sampled_from([1, 100, 2**20])
)
def test_columns_of_interleaved_files(
    tmp_path: Path, data: st.DataObject, rows: int, width: int, piece: int
) -> None:
    values = np.arange(rows * width, dtype=np.int16).reshape(rows, width)
    path = tmp_path / "file.bin"
    values.tofile(path)
    first = data.draw(st.integers(0, width - 1))
    last = data.draw(st.integers(first + 1, width))
    source = BinarySource(path, values.dtype, values.shape, 0, slice(first, last))
    assert source.shape == (rows, last - first)
    assert read_beside(CastSource(source, np.dtype("f8"))) == values.nbytes - rows * (last - first) * 2
    low = data.draw(st.integers(0, rows - 1))
    column = data.draw(st.integers(0, last - first - 1))
    box = Hyperslab((low, column), (rows - low, last - first - column))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binary, "PIECE_BYTES", piece)
        assert np.array_equal(read_checked(source, box, "/data"), values[:, first:last][box.slices])


def test_nothing_is_read_beside_whole_rows_and_parts_of_wide_ones(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(4 * 2**20))
    row = binary.WIDE_ROW_BYTES
    wide = BinarySource(path, np.dtype("u1"), (2, 2 * row), 0, slice(0, 5))
    nested = BinarySource(path, np.dtype("u1"), (2, 2, row), 0, slice(0, 5))
    others = [BinarySource(path, np.dtype("u1"), (9, 3)), BinarySource(path, np.dtype("u1"), (9,), 0, slice(2, 4))]
    assert [read_beside(source) for source in (wide, *others, ArraySource(np.zeros(3)))] == [0, 0, 0, 0]
    assert read_beside(nested) == 4 * (row - 5)
    flat = BinarySource(path, np.dtype("u1"), (2, 9, 3))
    cast = [CastSource(source, np.dtype("f8")) for source in (flat, ArraySource(np.zeros((3, 3))))]
    assert [reads_whole_rows(source) for source in (wide, nested, *others, flat, *cast)] == [
        *(False, False, True, False, True),
        *(True, False),
    ]


@pytest.fixture
def mapped(tmp_path: Path) -> np.memmap:
    """Return a memory-mapped array that begins at an odd place, beyond a page."""
    path = tmp_path / "mapped.bin"
    path.write_bytes(b"h" * 5002 + np.arange(600 * 10, dtype=np.int16).tobytes())
    return np.memmap(path, np.int16, "r", 5002, (600, 10))


VIEWS: dict[str, Callable[[np.memmap], np.ndarray]] = {
    "whole": lambda array: array,
    "rows": lambda array: array[100:450],
    "rows of rows": lambda array: array[100:450][7:],
    "columns": lambda array: array[:, 2:7],
    "rows and columns": lambda array: array[33:, 9:],
    "columns of columns": lambda array: array[:, 2:][3:, 1:4],
    "one row": lambda array: array[599],
    "reshaped": lambda array: array.reshape(6, 100, 10),
    "other byte order": lambda array: array.view(">i2"),
    "plain array over the mapping": lambda array: np.asarray(array)[5:, :4],
    "mapped anew": lambda array: np.memmap(array.filename, np.int16, "r", 5002 + 4100 * 2, (50, 3)),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_views_of_a_memmap_are_found_in_the_file(mapped: np.memmap, view: Callable) -> None:
    array = view(mapped)
    source = as_source(array)
    assert isinstance(source, BinarySource)
    restored = pickle.loads(pickle.dumps(source))
    assert restored == source
    values = restored.read(Hyperslab.whole(array.shape))
    assert values.dtype == array.dtype and np.array_equal(values, array)


def not_in_the_file(mapped: np.memmap) -> dict[str, np.ndarray]:
    copied = np.memmap(mapped.filename, np.int16, "c", 5002, (600, 10))
    copied[0, 0] = 99
    return {
        "private": copied,
        "backwards": mapped[::-1],
        "other columns": mapped[:, ::2],
        "transposed": mapped.T,
        "computed": mapped + 1,
        "empty": mapped[5:5],
    }


def test_other_views_are_read_through_memory(mapped: np.memmap) -> None:
    for name, array in not_in_the_file(mapped).items():
        source = as_source(array)
        assert isinstance(source, ArraySource), name
        assert np.array_equal(source.read(Hyperslab.whole(array.shape)), array), name


def test_a_writable_memmap_is_read_as_it_is_now(tmp_path: Path) -> None:
    array = np.memmap(tmp_path / "new.bin", np.float64, "w+", shape=(4, 3))
    source = as_source(array)
    assert isinstance(source, BinarySource)
    array[2] = 7
    assert np.array_equal(source.read(Hyperslab((2, 0), (1, 3))), [[7, 7, 7]])


def test_a_file_replaced_after_mapping_is_not_trusted(mapped: np.memmap, tmp_path: Path) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(b"\xff" * 20000)
    os.replace(other, mapped.filename)
    assert isinstance(as_source(mapped), ArraySource)


def test_file_too_short(tmp_path: Path) -> None:
    path = tmp_path / "short.bin"
    path.write_bytes(bytes(100))
    with pytest.raises(SourceError, match=r"needs 102 bytes, the file has 100 .*short\.bin"):
        BinarySource(path, np.dtype("i2"), (51,))


def test_file_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        BinarySource(tmp_path / "none.bin", np.dtype("i2"), (1,))


def test_file_truncated_while_it_is_read_names_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "shrinks.bin"
    path.write_bytes(bytes(1000))
    source = BinarySource(path, np.dtype("i2"), (500,))
    source.read(Hyperslab((0,), (1,)))
    os.truncate(path, 600)
    with pytest.raises(SourceError, match=r"ends at byte 600, 400 bytes early .*shrinks\.bin"):
        source.read(Hyperslab((250,), (250,)))


def test_a_vanished_file_is_an_error_when_read_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "gone.bin"
    path.write_bytes(bytes(10))
    pickled = pickle.dumps(BinarySource(path, np.dtype("u1"), (10,)))
    path.unlink()
    elsewhere = pickle.loads(pickled)  # must not raise: this happens inside a broadcast
    with pytest.raises(SourceError, match=r"gone\.bin"):
        elsewhere.read(Hyperslab((0,), (10,)))


@pytest.mark.parametrize("columns", [slice(0, 4, 2), slice(3, 1), slice(None, None, -1)])
def test_columns_must_be_one_run(tmp_path: Path, columns: slice) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(80))
    with pytest.raises(SourceError, match="one ascending run"):
        BinarySource(path, np.dtype("i2"), (10, 4), 0, columns)


def test_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file.bin").write_bytes(bytes(4))
    monkeypatch.chdir(tmp_path)
    source = BinarySource(Path("file.bin"), np.dtype("u1"), (4,))
    monkeypatch.chdir("/")
    assert source.read(Hyperslab((0,), (4,))).size == 4


def test_short_reads_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(1000, dtype=np.int32)
    values.tofile(tmp_path / "file.bin")
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, buffers, at: preadv(file, [buffers[0][:17]], at))
    source = BinarySource(tmp_path / "file.bin", values.dtype, values.shape)
    assert np.array_equal(source.read(Hyperslab((1,), (999,))), values[1:])


def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    values = np.arange(20_000 * 9, dtype=np.int32).reshape(-1, 9)
    values.tofile(tmp_path / "file.bin")
    source = BinarySource(tmp_path / "file.bin", values.dtype, values.shape, 0, slice(1, 8))
    boxes = [Hyperslab((row, 2), (500, 3)) for row in range(0, 20_000, 500)]
    with ThreadPoolExecutor(8) as pool:
        for box, read in zip(boxes, pool.map(source.read, boxes), strict=True):
            assert np.array_equal(read, values[:, 1:8][box.slices])


@RELAXED
@given(part=parts(), offset=st.integers(0, 9), wide=st.sampled_from([0, 8, 2**18]), data=st.data())
def test_what_is_announced_is_what_will_be_read(
    tmp_path: Path, part: tuple[tuple[int, ...], Hyperslab], offset: int, wide: int, data: st.DataObject
) -> None:
    """Byte for byte, in order, and nothing beyond the array; through a source that converts as well."""
    shape, box = part
    path = tmp_path / "file.bin"
    values = np.arange(np.prod(shape), dtype="<i4").reshape(shape)
    path.write_bytes(b"x" * offset + values.tobytes() + b"more")
    first = data.draw(st.integers(0, box.start[-1]))
    columns = slice(first, data.draw(st.integers(box.stop[-1], shape[-1])))
    source = BinarySource(path, values.dtype, shape, offset, columns)
    slab = Hyperslab((*box.start[:-1], box.start[-1] - first), box.count)
    read: list[int] = []

    def noted(self: BinarySource, out: np.ndarray, position: int) -> None:
        read.extend(range(position, position + out.nbytes))
        inner(self, out, position)

    inner = BinarySource._read_bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binary, "WIDE_ROW_BYTES", wide)
        patch.setattr(BinarySource, "_read_bytes", noted)
        ranges = file_ranges(CastSource(source, np.dtype("<f8")), slab)
        assert np.array_equal(read_checked(source, slab, "/x"), values[box.slices])
        pieces = list(read_pieces(source, slab, "/x"))
    announced = [n for item in ranges for n in range(item.offset, item.offset + item.nbytes)]
    assert read == [*announced, *announced]
    assert sum(part.size for part, _ in pieces) == slab.size
    assert offset <= announced[0] and announced[-1] < offset + values.nbytes
    assert {item.descriptor for item in ranges} == {source._descriptor}


def test_many_short_ranges_are_not_all_announced(tmp_path: Path) -> None:
    rows, row = 2 * binary.MOST_RANGES, binary.WIDE_ROW_BYTES + 1
    path = tmp_path / "sparse.bin"
    with path.open("wb") as file:
        file.truncate(rows * row)
    source = BinarySource(path, np.dtype("u1"), (rows, row), 0, slice(3, 5))
    assert len(file_ranges(source, Hyperslab((0, 0), (rows, 2)))) == binary.MOST_RANGES


def test_frames_are_read_one_by_one(tmp_path: Path) -> None:
    """Whole rows need no memory for all of them, however wide they are."""
    path, frame = tmp_path / "frames.bin", 2 * binary.WIDE_ROW_BYTES
    values = np.arange(5 * frame, dtype="u4").astype("u1").reshape(5, 2, -1)
    values.tofile(path)
    source = BinarySource(path, values.dtype, values.shape)
    whole = Hyperslab.whole(values.shape)
    found = [(part, piece.copy()) for part, piece in source.pieces(whole)]
    assert [part.count[0] for part, _ in found] == [2, 2, 1]
    assert np.array_equal(np.concatenate([piece for _, piece in found]), values)
