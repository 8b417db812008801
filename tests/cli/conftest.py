"""Recordings and files that command lines are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from parnwb.recordings.made_recording import make_spikeglx_recording


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a recording of 2 MB; tests only read it."""
    return make_spikeglx_recording(tmp_path_factory.mktemp("recording"), megabytes=2)
