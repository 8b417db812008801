"""The maker of recordings: the true format, real compressibility, the same bytes for the same seed."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parnwb.errors import SourceError, TargetError
from parnwb.recordings.made_recording import BLOCK_FRAMES, PROBES, _noise, make_spikeglx_recording
from parnwb.sources.spikeglx import check_spikeglx, read_meta

EXTRA = 'needs the extra "convert"'


def samples(run: Path, columns: int) -> np.ndarray:
    return np.fromfile(next(run.rglob("*.ap.bin")), np.int16).reshape(-1, columns)


def test_names_and_size(spikeglx_run: Path) -> None:
    path = spikeglx_run / "demo_g0_imec0" / "demo_g0_t0.imec0.ap.bin"
    assert spikeglx_run.name == "demo_g0"
    assert abs(path.stat().st_size - 6e6) < 2 * 385
    check_spikeglx(path)
    assert read_meta(path.with_suffix(".meta"))["typeThis"] == "imec"


def test_the_seed_decides(tmp_path: Path) -> None:
    runs = [make_spikeglx_recording(tmp_path / str(n), megabytes=2, seed=n // 2) for n in range(3)]
    first, second, third = (next(run.rglob("*.bin")).read_bytes() for run in runs)
    assert first == second != third
    metas = [next(run.rglob("*.meta")).read_text() for run in runs]
    assert metas[0] == metas[1]


@pytest.mark.parametrize("probe", PROBES)
def test_compressibility_and_amplitude_are_those_of_real_recordings(tmp_path: Path, probe: str) -> None:
    kind = PROBES[probe]
    run = make_spikeglx_recording(tmp_path, megabytes=12, channels=kind.channels, probe=probe)
    values = samples(run, kind.columns)
    chunk = np.ascontiguousarray(values[:, :64])
    ratio = chunk.nbytes / len(zlib.compress(chunk.tobytes(), 4))
    assert 2.3 < ratio < 3.1
    noise = np.median(np.abs(values[:, : kind.channels])) / 0.6745 * kind.microvolts
    assert 5 < noise < 20, "microvolts"
    assert values[:, : kind.channels].min() < -8 * np.std(values[:, : kind.channels]), "there are spikes"


def test_no_stretch_comes_again_soon() -> None:
    """Blocks of noise differ for many turns through the pool, even for a chunk of one channel."""
    pool = np.random.default_rng(0).integers(-9, 9, (2, BLOCK_FRAMES, 3), dtype=np.int16)
    blocks = {_noise(pool, index).tobytes() for index in range(8)}
    assert len(blocks) == 8


def test_sync_is_a_square_wave_of_one_hertz(tmp_path: Path) -> None:
    run = make_spikeglx_recording(tmp_path, megabytes=30)
    sync = samples(run, 385)[:, 384]
    assert set(np.unique(sync)) == {0, 64}
    assert np.flatnonzero(np.diff(sync)).tolist() == [14_999, 29_999]


@pytest.mark.parametrize(("probe", "channels"), [("NP9", 384), ("NP1.0", 1536), (None, 100)])
def test_unknown_probes(tmp_path: Path, probe: str | None, channels: int) -> None:
    with pytest.raises(SourceError, match="Known are"):
        make_spikeglx_recording(tmp_path, megabytes=1, channels=channels, probe=probe)


def test_nothing_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="at least one frame"):
        make_spikeglx_recording(tmp_path, megabytes=0)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match="can be written"):
        make_spikeglx_recording(tmp_path / "file", megabytes=1)


@pytest.mark.parametrize("probe", PROBES)
def test_neo_and_probeinterface_agree_with_what_was_meant(tmp_path: Path, probe: str) -> None:
    extractors: Any = pytest.importorskip("spikeinterface.extractors", reason=EXTRA)
    kind = PROBES[probe]
    run = make_spikeglx_recording(tmp_path, megabytes=3, channels=kind.channels, probe=probe)
    sync = extractors.read_spikeglx(run, stream_id="imec0.ap-SYNC")
    assert sync.get_num_channels() == kind.sync
    recording = extractors.read_spikeglx(run, stream_id="imec0.ap")
    values = samples(run, kind.columns)
    traces = recording.get_traces(channel_ids=recording.channel_ids)
    assert np.array_equal(traces, values[:, : kind.channels])
    assert np.allclose(recording.get_channel_gains(), kind.microvolts)
    assert recording.get_probe().model_name == kind.part_number
    meant = np.array([kind.site(channel) for channel in range(kind.channels)], float)
    places = recording.get_channel_locations()
    one = meant[:, 0] == 0  # shanks lie apart in probeinterface's plane
    assert np.allclose(np.diff(places[one], axis=0), np.diff(meant[one, 1:], axis=0))
