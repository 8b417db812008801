"""Fixtures of the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from parnwb.recordings.made_recording import make_spikeglx_recording


@pytest.fixture(scope="session")
def spikeglx_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a made Neuropixels 1.0 recording of 6 MB; tests only read it."""
    return make_spikeglx_recording(tmp_path_factory.mktemp("spikeglx"), megabytes=6)


@pytest.fixture(scope="session")
def quad_base_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a made Quad-Base recording (1536 channels) of 6 MB; tests only read it."""
    return make_spikeglx_recording(tmp_path_factory.mktemp("quad_base"), megabytes=6, channels=1536)


@pytest.fixture
def small_run(tmp_path: Path) -> Path:
    """Return the run folder of a made recording of 0.5 MB that a test may damage."""
    return make_spikeglx_recording(tmp_path / "made", megabytes=0.5)
