"""Names of compressions: what is refused, and what HDF5 is told."""

from __future__ import annotations

import builtins
import warnings
from datetime import datetime, timezone

import h5py
import hdf5plugin
import numpy as np
import pytest
from pynwb import NWBFile, TimeSeries

from parnwb import NWBParallelIO
from parnwb.compression import check_compression, filter_settings, is_none, needs_plugin
from parnwb.errors import CodecError, ParnwbError

NAMES = ["auto", "none", "gzip", "gzip-0", "gzip-9", "zstd", "zstd-22", "blosc2-zstd-1", "bitshuffle-lz4"]


@pytest.mark.parametrize("good", [None, 0, 9, *NAMES])
def test_good_ones(good):
    check_compression(good)


NOT_NAMES = ["", "lz4", "gzip-10", "gzip-", "-3", "zstd-0", "zstd-23", "auto-1", "none-1", "bitshuffle-lz4-2"]


@pytest.mark.parametrize("bad", [*NOT_NAMES, 10, -1, True, 1.5, []])
def test_others_are_refused_with_what_there_is(bad):
    with pytest.raises(ParnwbError, match="compression must be .*'blosc2-zstd'") as caught:
        check_compression(bad)
    assert repr(bad) in str(caught.value)


def test_what_hdf5_is_told():
    assert filter_settings("gzip") == {"compression": "gzip", "compression_opts": 4}
    assert filter_settings("gzip-7") == filter_settings(7) == {"compression": "gzip", "compression_opts": 7}
    assert filter_settings(0) == {"compression": "gzip", "compression_opts": 0}
    assert filter_settings("zstd-5") == dict(hdf5plugin.Zstd(clevel=5))
    assert filter_settings("zstd") == dict(hdf5plugin.Zstd(clevel=3))
    shuffled = hdf5plugin.Blosc2(cname="zstd", clevel=5, filters=hdf5plugin.Blosc2.SHUFFLE)
    assert filter_settings("blosc2-zstd") == dict(shuffled)
    assert filter_settings("bitshuffle-lz4") == dict(hdf5plugin.Bitshuffle(cname="lz4"))


def test_what_readers_need():
    plain, others = (None, 3, "auto", "none", "gzip-4"), ("zstd", "zstd-9", "blosc2-zstd", "bitshuffle-lz4")
    assert not any(needs_plugin(one) for one in plain) and all(needs_plugin(one) for one in others)
    assert [is_none(one) for one in plain] == [True, False, False, True, False]


def test_without_hdf5plugin_it_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "hdf5plugin":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CodecError, match=r"hdf5plugin, which is not installed.*parnwb\[plugins\]"):
        filter_settings("zstd")


@pytest.mark.parametrize("compression, warned", [("zstd-3", 1), ("bitshuffle-lz4", 1), ("gzip-4", 0), ("auto", 0)])
def test_who_chooses_a_plugin_is_told_that_readers_need_it_and_h5py_reads_it_with_it(tmp_path, compression, warned):
    nwbfile = NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=timezone.utc))
    values = np.arange(200_000, dtype="i2").reshape(-1, 4)
    nwbfile.add_acquisition(TimeSeries(name="series", data=values, unit="V", rate=1.0))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with NWBParallelIO(tmp_path / "out.nwb", "w", compression=compression, progress=False) as io:
            io.write(nwbfile)
    told = [str(item.message) for item in said if "plugin" in str(item.message)]
    assert len(told) == warned
    assert all(compression in text and "hdf5plugin" in text for text in told), told
    with h5py.File(tmp_path / "out.nwb") as file:
        dataset = file["acquisition/series/data"]
        assert dataset.id.get_create_plist().get_nfilters() >= 1
        assert np.array_equal(dataset[()], values)
