"""The first import of pynwb in a new home, while another rank writes pynwb's cache."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi_skip

IMPORT = "from parnwb.cli.first_import import import_pynwb; import_pynwb({}); import pynwb; pynwb.get_manager()"


def start(cache: Path, patience: float) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYNWB_NO_CACHE_DIR": "0"}
    command = [sys.executable, "-c", IMPORT.format(patience)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)


@pytest.fixture
def cache(tmp_path: Path) -> tuple[Path, bytes]:
    """Return pynwb's cache with its file cut in two, and the whole of it."""
    assert start(tmp_path, 1).returncode == 0
    (file,) = tmp_path.rglob("*.pkl")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    return file, whole


def test_a_cache_that_is_being_written_is_waited_for(tmp_path: Path, cache: tuple[Path, bytes]) -> None:
    file, whole = cache

    def complete() -> None:
        time.sleep(2)
        file.write_bytes(whole)

    threading.Thread(target=complete).start()
    done = start(tmp_path, 60)
    assert done.returncode == 0, done.stderr


def test_a_cache_that_stays_damaged_is_an_error(tmp_path: Path, cache: tuple[Path, bytes]) -> None:
    done = start(tmp_path, 0.5)
    assert done.returncode != 0 and "pickle" in done.stderr
