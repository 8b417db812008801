"""How an output is taken and given back: whatever happens in between, the next one can have it."""

from __future__ import annotations

import gc
import signal
from pathlib import Path

import pytest
from failure.resuming import session
from pynwb import NWBHDF5IO

from parnwb import NWBParallelIO
from parnwb.append import Opened
from parnwb.errors import TargetError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("path", ["/", None, 5])
def test_what_is_no_file_name_is_refused_as_such(path: object) -> None:
    with pytest.raises(TargetError, match="must be the path of a file"):
        NWBParallelIO(path)  # type: ignore[arg-type]


def test_an_output_that_nobody_closes_is_free_again(tmp_path: Path) -> None:
    path, before = tmp_path / "out.nwb", signal.getsignal(signal.SIGTERM)
    io = NWBParallelIO(path, "w", progress=False)
    io.write(session(1, movie=False))
    assert (tmp_path / "out.nwb.lock").exists() and signal.getsignal(signal.SIGTERM) != before
    with pytest.warns(ResourceWarning, match="never closed"):
        del io
        gc.collect()
    assert not (tmp_path / "out.nwb.lock").exists() and signal.getsignal(signal.SIGTERM) == before
    with NWBParallelIO(path, "resume", progress=False) as io:
        io.write(session(1, movie=False))
    assert [item.name for item in tmp_path.iterdir()] == ["out.nwb"]


def test_a_view_that_cannot_be_closed_keeps_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.nwb"
    with NWBHDF5IO(path, "w") as plain:
        plain.write(session(1, movie=False))

    def fail(self: Opened) -> None:
        raise OSError("HDF5 cannot close it")

    io = NWBParallelIO(path, "a", progress=False)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="cannot close"):
        patch.setattr(Opened, "close_view", fail)
        io.close()
    assert [item.name for item in tmp_path.iterdir()] == ["out.nwb"]
    del io
    gc.collect()
    with NWBParallelIO(path, "a", progress=False) as io:
        assert "filtered" in io.read().acquisition
