"""What MPI-IO is told of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from parnwb.backends import mpio
from parnwb.machine.striping import Striping

ALWAYS = {"romio_ds_write": "disable"}


@pytest.fixture
def on_lustre(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpio, "file_system", lambda folder: "lustre")


def test_elsewhere_only_that_nothing_is_read_before_it_is_written(tmp_path: Path) -> None:
    assert mpio.hints(tmp_path / "out.nwb.partial", 4) == ALWAYS


@pytest.mark.usefixtures("on_lustre")
@pytest.mark.parametrize(("servers", "ranks", "writers"), [(8, 100, 8), (8, 3, 3), (1, 1, 1)])
def test_on_lustre_a_process_for_each_server_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: int, ranks: int, writers: int
) -> None:
    asked = []
    monkeypatch.setattr(mpio, "striping_of", lambda path: asked.append(path) or Striping(servers, 1 << 20))
    spread = {"striping_factor": str(servers), "striping_unit": "1048576", "cb_nodes": str(writers)}
    assert mpio.hints(tmp_path / "out.nwb.partial", ranks) == ALWAYS | spread
    assert asked == [tmp_path / "out.nwb.partial"]


@pytest.mark.usefixtures("on_lustre")
@pytest.mark.parametrize(("found", "more"), [(None, {}), (Striping(-1), {"striping_factor": "-1"})])
def test_without_a_number_of_servers_mpi_io_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Striping | None, more: dict[str, str]
) -> None:
    monkeypatch.setattr(mpio, "striping_of", lambda path: found)
    told = mpio.hints(tmp_path / "out.nwb.partial", 4)
    assert "cb_nodes" not in told and told.get("striping_factor") == more.get("striping_factor")
