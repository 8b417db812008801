"""Recordings: from the raw file where possible, always with the values that spikeinterface gives."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources import Access, as_source, read_checked
from parnwb.sources.binary import BinarySource
from parnwb.sources.recording import RecordingSource, recording_source
from parnwb.sources.spikeglx import check_spikeglx, find_spikeglx

EXTRA = 'needs the extra "convert"'
extractors = pytest.importorskip("spikeinterface.extractors", reason=EXTRA)
core = pytest.importorskip("spikeinterface.core", reason=EXTRA)
tools = pytest.importorskip("neuroconv.tools.spikeinterface", reason=EXTRA)


def iterator(recording: Any, **kwargs: Any) -> Any:
    """Wrap a recording as neuroconv does."""
    kind = tools.spikeinterfacerecordingdatachunkiterator.SpikeInterfaceRecordingDataChunkIterator
    return kind(recording, **kwargs)


def boxes(shape: tuple[int, int]) -> list[Hyperslab]:
    """Return the corners, a column block, and everything."""
    rows, columns = shape
    half = columns // 2
    return [
        Hyperslab((0, 0), (1, 1)),
        Hyperslab((rows - 1, columns - 1), (1, 1)),
        Hyperslab((100, 0), (777, columns)),
        Hyperslab((5, half), (500, columns - half)),
        Hyperslab.whole(shape),
    ]


@pytest.fixture
def ap(spikeglx_run: Path) -> Any:
    """Return the recording of the electrodes."""
    return extractors.read_spikeglx(spikeglx_run, stream_id="imec0.ap")


@pytest.mark.parametrize(("stream", "columns"), [("imec0.ap", (0, 384)), ("imec0.ap-SYNC", (384, 385))])
def test_spikeglx_is_read_from_its_file(spikeglx_run: Path, stream: str, columns: tuple[int, int]) -> None:
    recording = extractors.read_spikeglx(spikeglx_run, stream_id=stream)
    source = as_source(iterator(recording))
    assert isinstance(source, BinarySource) and source.columns == slice(*columns)
    restored = pickle.loads(pickle.dumps(source))
    for box in boxes(source.shape):
        assert np.array_equal(read_checked(restored, box, "/x"), recording.get_traces()[box.slices])


def test_quad_base(quad_base_run: Path) -> None:
    recording = extractors.read_spikeglx(quad_base_run, stream_id="imec0.ap")
    source = as_source(iterator(recording))
    assert isinstance(source, BinarySource) and source.shape[1] == 1536
    box = Hyperslab((10, 1500), (500, 36))
    expected = recording.get_traces(channel_ids=recording.channel_ids[1500:])[10:510]
    assert np.array_equal(source.read(box), expected)


def test_sync_of_quad_base_which_neo_announces_but_cannot_read(quad_base_run: Path) -> None:
    recording = extractors.read_spikeglx(quad_base_run, stream_id="imec0.ap-SYNC")
    with pytest.raises(KeyError):
        recording.get_traces()
    source = as_source(iterator(recording))
    path = next(quad_base_run.rglob("*.bin"))
    words = np.fromfile(path, np.int16).reshape(-1, 1540)[:, 1536:]
    assert np.array_equal(read_checked(source, Hyperslab.whole(source.shape), "/x"), words)


def test_scaled_values_are_those_of_the_iterator(ap: Any) -> None:
    scaled = iterator(ap, return_in_uV=True)
    source = as_source(scaled)
    assert isinstance(source, RecordingSource)
    assert (source.dtype, source.access) == (np.dtype(np.float32), Access.GRIDDED)
    for box in boxes(source.shape):
        assert np.array_equal(read_checked(source, box, "/x"), scaled[box.slices])


def reordered(ap: Any) -> dict[str, Any]:
    """Return recordings derived from the raw one: none may be read from the file as it is."""
    preprocessing = pytest.importorskip("spikeinterface.preprocessing", reason=EXTRA)
    return {
        "some channels": ap.select_channels(ap.channel_ids[10:20]),
        "other order": ap.select_channels(ap.channel_ids[::-1]),
        "part of the time": ap.frame_slice(1000, 4000),
        "other dtype": preprocessing.astype(ap, "float32"),
        "common reference": preprocessing.common_reference(ap),
    }


def test_derived_recordings_are_read_through_spikeinterface(ap: Any) -> None:
    for name, recording in reordered(ap).items():
        source = as_source(iterator(recording))
        assert isinstance(source, RecordingSource), name
        restored = pickle.loads(pickle.dumps(source))
        for box in boxes(source.shape):
            values = read_checked(restored, box, name)
            assert np.array_equal(values, iterator(recording)[box.slices]), name


def test_a_recording_in_memory_cannot_be_sent() -> None:
    recording = core.NumpyRecording([np.zeros((100, 4), np.int16)], 30_000)
    source = as_source(iterator(recording))
    assert source.read(Hyperslab((0, 1), (5, 2))).shape == (5, 2)
    with pytest.raises(SourceError, match="build the NWBFile on every rank"):
        pickle.dumps(source)


def test_segments(ap: Any) -> None:
    joined = core.append_recordings([ap, ap.frame_slice(0, 500)])
    source = recording_source(joined, segment_index=1)
    assert source.shape == (500, 384)
    assert np.array_equal(source.read(Hyperslab((3, 0), (9, 384))), ap.get_traces()[3:12])


def test_an_empty_selection_is_never_asked(ap: Any) -> None:
    """The iterator answers an empty selection with the whole recording."""
    assert iterator(ap)._get_data((slice(0, 0), slice(0, 4))).shape[0] == ap.get_num_samples()
    assert as_source(iterator(ap)).read(Hyperslab((0, 0), (0, 4))).shape == (0, 4)


def change_meta(run: Path, key: str, value: str | None) -> Path:
    """Set an entry of the .meta, or remove it; return the .bin."""
    meta = next(run.rglob("*.meta"))
    text = re.sub(
        rf"(?m)^{re.escape(key)}=.*\n", "" if value is None else f"{key}={value}\n", meta.read_text()
    )
    meta.write_text(text)
    return meta.with_suffix(".bin")


class TestCheckSpikeGLX:
    """Everything in which .meta and .bin can disagree."""

    def test_a_good_pair(self, small_run: Path, quad_base_run: Path) -> None:
        for run in (small_run, quad_base_run):
            for path in find_spikeglx(run):
                check_spikeglx(path)

    def test_truncated(self, small_run: Path) -> None:
        path = next(small_run.rglob("*.bin"))
        os.truncate(path, path.stat().st_size - 770 * 10)
        with pytest.raises(SourceError, match=r"it is truncated .*t0\.imec0\.ap\.bin"):
            check_spikeglx(path)

    def test_padded(self, small_run: Path) -> None:
        path = next(small_run.rglob("*.bin"))
        os.truncate(path, path.stat().st_size + 770)
        with pytest.raises(SourceError, match="it is padded"):
            check_spikeglx(path)

    def test_no_announced_size_and_half_a_sample(self, small_run: Path) -> None:
        path = change_meta(small_run, "fileSizeBytes", None)
        check_spikeglx(path)
        os.truncate(path, path.stat().st_size - 2)
        with pytest.raises(SourceError, match="whole samples of all channels"):
            check_spikeglx(path)

    def test_empty(self, small_run: Path) -> None:
        path = change_meta(small_run, "fileSizeBytes", "0")
        os.truncate(path, 0)
        with pytest.raises(SourceError, match="positive multiple"):
            check_spikeglx(path)

    @pytest.mark.parametrize("channels", ["383", "0", "many"])
    def test_wrong_number_of_channels(self, small_run: Path, channels: str) -> None:
        with pytest.raises(SourceError, match="nSavedChans"):
            check_spikeglx(change_meta(small_run, "nSavedChans", channels))

    def test_wrong_number_of_channels_everywhere(self, small_run: Path) -> None:
        change_meta(small_run, "nSavedChans", "383")
        with pytest.raises(SourceError, match=r"nSavedChans \* 2 = 766"):
            check_spikeglx(change_meta(small_run, "snsApLfSy", "382,0,1"))

    def test_missing_files(self, small_run: Path) -> None:
        path = next(small_run.rglob("*.bin"))
        path.unlink()
        assert find_spikeglx(small_run) == [path]
        with pytest.raises(SourceError, match="the .bin is missing"):
            check_spikeglx(path)
        path.with_suffix(".meta").unlink()
        with pytest.raises(SourceError, match="needs its .meta"):
            check_spikeglx(path)

    def test_a_recording_of_a_damaged_pair_is_refused(self, small_run: Path) -> None:
        path = next(small_run.rglob("*.bin"))
        os.truncate(path, path.stat().st_size - 770 * 10)
        recording = extractors.read_spikeglx(small_run, stream_id="imec0.ap")  # notices nothing
        with pytest.raises(SourceError, match="truncated"):
            as_source(iterator(recording))
