"""What ranks import: thousands of ranks that load the same libraries at once are what file servers suffer from."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mpi_launch import run_mpi

from parnwb.recordings.made_recording import make_spikeglx_recording

pytestmark = pytest.mark.mpi_skip


def imported(folder: Path, what: str) -> list[list[str]]:
    """Return which of the large libraries each of four ranks has imported."""
    program = Path(__file__).with_name("start_up_program.py")
    done = run_mpi(4, [sys.executable, "-W", "ignore", program, folder, what], timeout=60)
    assert done.returncode == 0, done.stderr[-4000:]
    found: list[list[str]] = json.loads(done.stdout)
    return found


def test_ranks_without_an_nwbfile_import_neither_pynwb_nor_h5py(tmp_path: Path) -> None:
    from pynwb import NWBHDF5IO

    root, *others = imported(tmp_path, "write")
    assert {"h5py", "pynwb"} <= set(root)
    assert others == [[], [], []]
    with NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        series = io.read().acquisition
        values = np.fromfile(tmp_path / "values.bin", dtype="<i2").reshape(-1, 8)
        assert np.array_equal(series["raw"].data[:], values)
        assert np.array_equal(series["memory"].data[:], values[:50_000])
        ranks = np.repeat([0, 1, 2, 3] * 2, 1000)
        assert np.array_equal(series["stream"].data[:], np.repeat(ranks[:, None], 8, axis=1))


def test_ranks_that_convert_a_recording_import_neither_neuroconv_nor_pynwb_nor_h5py(tmp_path: Path) -> None:
    pytest.importorskip("neuroconv", reason="the root reads the recording with it")
    make_spikeglx_recording(tmp_path / "recording", megabytes=4)
    root, *others = imported(tmp_path, "convert")
    assert {"h5py", "pynwb", "neuroconv"} <= set(root)
    assert others == [[], [], []]
    assert (tmp_path / "out.nwb").exists()
