"""Files that another host has just created."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from parnwb.errors import TargetError
from parnwb.target import Target, visible
from parnwb.target.process import Process


def test_a_file_that_appears_late_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "late"
    timer = threading.Timer(0.3, lambda: path.write_text("here"))
    timer.start()
    descriptor = visible.open_soon(path)
    timer.join()
    assert os.read(descriptor, 10) in (b"", b"here")
    os.close(descriptor)


def test_a_file_that_never_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visible, "PATIENCE_SECONDS", 0.3)
    with pytest.raises(FileNotFoundError):
        visible.open_soon(tmp_path / "never")


def test_a_lock_is_recognised_by_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visible, "PATIENCE_SECONDS", 0.1)
    root, other = Target(tmp_path / "out.nwb"), Target(tmp_path / "out.nwb")
    root.reserve([Process.this()])
    other.lock.check_seen(root.lock.token)
    with pytest.raises(TargetError, match="there is another job's.*on host .*Write to a folder that all hosts share"):
        other.lock.check_seen("0" * 8)
    root.lock.release()
    with pytest.raises(TargetError, match="No such file"):
        other.lock.check_seen("0" * 8)
