"""Arrays in memory, and converted sources."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources import Access, Source, as_source
from parnwb.sources.array import MAX_PICKLED_BYTES, ArraySource, CastSource


def test_reads_views_of_any_dimension() -> None:
    values = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    source = as_source(values)
    assert isinstance(source, ArraySource) and isinstance(source, Source)
    assert (source.shape, source.dtype, source.access) == ((2, 3, 4), values.dtype, Access.RANDOM)
    part = source.read(Hyperslab((0, 1, 2), (2, 2, 1)))
    assert np.shares_memory(part, values)
    assert np.array_equal(part, values[0:2, 1:3, 2:3])


def test_a_scalar_stays_an_array() -> None:
    source = as_source(np.array(3.5))
    assert isinstance(source.read(Hyperslab((), ())), np.ndarray)


def test_byte_order_is_kept() -> None:
    assert as_source(np.arange(3, dtype=">i2")).read(Hyperslab((0,), (3,))).dtype == np.dtype(">i2")


def test_small_arrays_pickle_without_the_array_they_were_cut_from() -> None:
    source = ArraySource(np.arange(100_000).reshape(1000, 100)[::100, :2])
    pickled = pickle.dumps(source)
    assert len(pickled) < 2000
    assert np.array_equal(pickle.loads(pickled).array, source.array)


def test_large_arrays_refuse_to_pickle() -> None:
    source = ArraySource(np.broadcast_to(np.int8(0), (MAX_PICKLED_BYTES + 1,)))
    with pytest.raises(SourceError, match=r"np\.memmap, or build the NWBFile on every rank"):
        pickle.dumps(source)


def test_cast_follows_numpy() -> None:
    values = np.array([0.1, 300.7, -5.0], np.float32)
    source = CastSource(as_source(values), np.dtype(np.float64))
    assert (source.shape, source.dtype, source.access) == ((3,), np.dtype(np.float64), Access.RANDOM)
    assert np.array_equal(source.read(Hyperslab((1,), (2,))), values[1:].astype(np.float64))
    assert source.read(Hyperslab((0,), (3,))).dtype == np.float64
    assert np.array_equal(pickle.loads(pickle.dumps(source)).read(Hyperslab((0,), (3,))), values.astype("f8"))


@pytest.mark.parametrize("data", [[1, 2], "text", 3, None])
def test_other_types_are_refused(data: object) -> None:
    with pytest.raises(SourceError, match=type(data).__qualname__):
        as_source(data)
