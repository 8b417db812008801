"""Iterators that listen to what they are asked, and those that do not."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hdmf.data_utils import GenericDataChunkIterator

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources import Access, Source, as_source, read_checked
from parnwb.sources.array import ArraySource
from parnwb.sources.binary import BinarySource
from parnwb.sources.hdf5 import HDF5DatasetSource
from parnwb.sources.iterator import REPEATS, IteratorSource, SequentialSource


class Honest(GenericDataChunkIterator):
    """Answers what it is asked."""

    def __init__(self, values: np.ndarray, **kwargs: Any) -> None:
        self.values = values
        self.asked: list[tuple[slice, ...]] = []
        super().__init__(buffer_shape=values.shape, chunk_shape=values.shape, **kwargs)

    def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
        self.asked.append(selection)
        assert all(part.start < part.stop for part in selection), "never ask for nothing"
        return self.values[selection]

    def _get_maxshape(self) -> tuple[int, ...]:
        return self.values.shape

    def _get_dtype(self) -> np.dtype:
        return self.values.dtype


class Sent(Honest):
    """Can be pickled in hdmf's way."""

    def _to_dict(self) -> dict:
        return {"values": self.values}

    @staticmethod
    def _from_dict(state: dict) -> Sent:
        return Sent(**state)


class Cursor(Honest):
    """Hands out its next rows, whatever the selection's start says: a movie decoder."""

    position = 0

    def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
        count = selection[0].stop - selection[0].start
        if self.position + count > len(self.values):
            raise StopIteration
        self.position += count
        return self.values[self.position - count : self.position][(slice(None), *selection[1:])]


class Seeks(Cursor):
    """A cursor that seeks in ``__getitem__``, of which hdmf knows nothing, and misses."""

    def __getitem__(self, selection: tuple[slice, ...]) -> np.ndarray:
        self.position = min(selection[0].start + 1, len(self.values) - 1)
        return self._get_data(selection)


def in_order(source: Source, step: int) -> np.ndarray:
    """Read all rows in steps, as the planner has a sequential source read."""
    rows = source.shape[0]
    steps = [(low, min(step, rows - low)) for low in range(0, rows, step)]
    rest = source.shape[1:]
    boxes = [Hyperslab((low, *(0,) * len(rest)), (count, *rest)) for low, count in steps]
    return np.concatenate([read_checked(source, box, "/data") for box in boxes])


@pytest.fixture
def frames() -> np.ndarray:
    """Return forty different frames."""
    return np.random.default_rng(1).integers(1, 255, (40, 3, 4), dtype=np.uint8)


def test_an_honest_iterator_may_be_split(frames: np.ndarray) -> None:
    source = as_source(Honest(frames))
    assert (source.shape, source.dtype, source.access) == (frames.shape, frames.dtype, Access.GRIDDED)
    box = Hyperslab((30, 1, 0), (5, 2, 3))
    assert np.array_equal(source.read(box), frames[box.slices])


def test_the_probe_runs_once_and_reads_little(frames: np.ndarray) -> None:
    iterator = Honest(frames)
    as_source(iterator)
    asked = len(iterator.asked)
    assert asked <= REPEATS + 5
    assert as_source(iterator) is as_source(iterator)
    assert len(iterator.asked) == asked


@pytest.mark.parametrize("black", [0, 1, 5, REPEATS - 1, REPEATS])
@pytest.mark.parametrize("step", [1, 4, 7, 40])
def test_a_cursor_is_found_out_and_loses_no_frame(frames: np.ndarray, black: int, step: int) -> None:
    frames[:black] = 0
    source = as_source(Cursor(frames))
    assert source.access is Access.SEQUENTIAL
    assert np.array_equal(in_order(source, step), frames)


def test_a_cursor_that_blinks_is_found_out() -> None:
    frames = np.zeros((40, 2), np.int16)
    frames[REPEATS] = 1  # answers the last row's question with 1, then row 0's with 0 again
    source = as_source(Cursor(frames))
    assert source.access is Access.SEQUENTIAL
    assert np.array_equal(in_order(source, 8), frames)


def test_a_cursor_with_a_long_black_beginning_raises_instead_of_writing_wrong_frames() -> None:
    frames = np.zeros((40, 2), np.int16)
    frames[30:] = 1
    with pytest.raises(SourceError, match="must hold the rows that it announces"):
        in_order(as_source(Cursor(frames)), 8)


@pytest.mark.parametrize("rows", range(1, 12))
@pytest.mark.parametrize("value", [0, 1])
def test_short_cursors(rows: int, value: int) -> None:
    frames = np.arange(rows * 3).reshape(rows, 3) * value
    source = as_source(Cursor(frames))
    assert source.access is Access.SEQUENTIAL
    if value or rows <= REPEATS + 3:
        assert np.array_equal(in_order(source, 2), frames)


@pytest.mark.parametrize("rows", range(1, 12))
def test_short_honest_iterators(rows: int) -> None:
    frames = np.arange(rows * 3).reshape(rows, 3)
    source = as_source(Honest(frames))
    assert source.access is (Access.SEQUENTIAL if rows == 1 else Access.GRIDDED)
    assert np.array_equal(in_order(source, 2), frames)


def test_equal_rows_prove_nothing_but_are_read_rightly() -> None:
    constant = np.full((40, 3), 7, np.int16)
    source = as_source(Honest(constant))
    assert source.access is Access.SEQUENTIAL
    assert np.array_equal(in_order(source, 16), constant)


def test_one_different_row_in_the_middle_is_still_read_rightly() -> None:
    values = np.zeros((40, 3), np.int16)
    values[13] = 5
    assert np.array_equal(in_order(as_source(Honest(values)), 16), values)


def test_missing_values_are_equal_to_themselves() -> None:
    values = np.full((9, 2), np.nan)
    values[-1] = 1
    assert as_source(Honest(values)).access is Access.GRIDDED


def test_values_are_those_that_hdmf_gets_not_those_of_getitem(frames: np.ndarray) -> None:
    source = as_source(Seeks(frames))
    assert source.access is Access.SEQUENTIAL
    assert np.array_equal(in_order(source, 7), frames)


def test_a_sequential_source_refuses_other_orders(frames: np.ndarray) -> None:
    source = as_source(Cursor(frames))
    source.read(Hyperslab((0, 0, 0), (4, 3, 4)))
    for start, count in (((0, 0, 0), (4, 3, 4)), ((8, 0, 0), (4, 3, 4)), ((4, 0, 0), (4, 2, 4))):
        with pytest.raises(SourceError, match="next is row 4"):
            source.read(Hyperslab(start, count))


def test_an_iterator_that_fails_is_an_error(frames: np.ndarray) -> None:
    class Failing(Honest):
        def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
            raise OSError("the disk is gone")

    with pytest.raises(SourceError, match="the disk is gone"):
        as_source(Failing(frames))


def test_an_iterator_of_another_shape_is_an_error(frames: np.ndarray) -> None:
    class Wrong(Honest):
        def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
            return self.values[selection][..., :2]

    with pytest.raises(SourceError, match="returned shape"):
        as_source(Wrong(frames))


def test_long_rows_are_probed_by_a_part(monkeypatch: pytest.MonkeyPatch, frames: np.ndarray) -> None:
    monkeypatch.setattr("parnwb.sources.iterator.PROBE_BYTES", 4)
    iterator = Honest(frames)
    assert as_source(iterator).access is Access.GRIDDED
    assert all(frames[selection].nbytes <= 4 for selection in iterator.asked)
    with pytest.raises(SourceError, match="Read it into a file first"):
        as_source(Cursor(frames))


def test_pickling_is_the_iterators_own(frames: np.ndarray) -> None:
    restored = pickle.loads(pickle.dumps(as_source(Sent(frames))))
    assert isinstance(restored, IteratorSource) and restored.access is Access.GRIDDED
    assert np.array_equal(in_order(restored, 9), frames)
    sequential = as_source(Sent(frames[:1]))
    assert isinstance(sequential, SequentialSource)
    assert np.array_equal(in_order(pickle.loads(pickle.dumps(sequential)), 1), frames[:1])
    for iterator in (Honest(frames), Cursor(frames)):
        with pytest.raises(SourceError, match="Build the NWBFile on every rank"):
            pickle.dumps(as_source(iterator))


class TestSliceable:
    """neuroconv's iterator over anything that can be sliced."""

    @pytest.fixture
    def sliceable(self) -> Any:
        """Return the class."""
        tools = pytest.importorskip("neuroconv.tools.hdmf", reason='needs the extra "convert"')
        return tools.SliceableDataChunkIterator

    def test_is_seen_through(self, sliceable: Any, tmp_path: Path) -> None:
        values = np.arange(60).reshape(20, 3)
        values.tofile(tmp_path / "file.bin")
        mapped = np.memmap(tmp_path / "file.bin", values.dtype, "r", shape=values.shape)
        with h5py.File(tmp_path / "in.h5", "w") as file:
            data = {
                ArraySource: values,
                BinarySource: mapped,
                HDF5DatasetSource: file.create_dataset("x", data=values),
            }
            for kind, inner in data.items():
                source = as_source(sliceable(inner, buffer_shape=(20, 3), chunk_shape=(5, 3)))
                assert type(source) is kind and source.access is Access.RANDOM
                assert np.array_equal(source.read(Hyperslab((3, 1), (9, 2))), values[3:12, 1:])

    def test_over_zarr(self, sliceable: Any) -> None:
        zarr = pytest.importorskip("zarr")
        values = np.arange(60).reshape(20, 3)
        source = as_source(sliceable(zarr.array(values), buffer_shape=(20, 3), chunk_shape=(5, 3)))
        assert source.access is Access.RANDOM
        assert np.array_equal(source.read(Hyperslab((3, 1), (9, 2))), values[3:12, 1:])

    def test_a_subclass_is_not_trusted(self, sliceable: Any) -> None:
        class Scaled(sliceable):
            def _get_data(self, selection: Any) -> np.ndarray:
                return super()._get_data(selection) * 2

        values = np.arange(60).reshape(20, 3)
        source = as_source(Scaled(values, buffer_shape=(20, 3), chunk_shape=(5, 3)))
        assert source.access is Access.GRIDDED
        assert np.array_equal(source.read(Hyperslab((3, 1), (9, 2))), values[3:12, 1:] * 2)
