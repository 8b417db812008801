"""Movies beside the file: their names, what becomes of the originals, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from failure.faults.material import session
from pynwb.image import ImageSeries

from parnwb import place_movies
from parnwb.errors import LinkError, ParnwbError
from parnwb.movies import placing


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(placing, "PIECE_BYTES", 1000)
    (tmp_path / "films").mkdir()
    for number, nbytes in enumerate((2500, 0, 999)):
        (tmp_path / "films" / f"{number}.avi").write_bytes(bytes(range(250)) * 10 if nbytes == 2500 else b"x" * nbytes)
    return tmp_path


def watching(*names: str) -> Any:
    nwbfile = session()
    timing = {"rate": 1.0, "num_samples": 9, "starting_frame": list(range(len(names)))}
    nwbfile.add_acquisition(ImageSeries(name="camera", external_file=list(names), format="external", **timing))
    return nwbfile


@pytest.mark.parametrize("how", ["copy", "move"])
def test_placed(folder: Path, how: str) -> None:
    before = {path.name: path.read_bytes() for path in (folder / "films").iterdir()}
    nwbfile = watching("films/0.avi", "films/1.avi", str(folder / "films" / "2.avi"), "https://example.org/x.avi")
    named = place_movies(nwbfile, folder / "session.nwb", how=how)
    own = nwbfile.acquisition["camera"].object_id
    expected = [f"session/{own}_external_file_{number}.avi" for number in range(3)]
    assert named == {"/camera": [*expected, "https://example.org/x.avi"]}
    assert list(nwbfile.acquisition["camera"].external_file) == named["/camera"]
    assert [(folder / name).read_bytes() for name in expected] == [before[f"{number}.avi"] for number in range(3)]
    assert len(list((folder / "films").iterdir())) == (3 if how == "copy" else 0)
    assert len(list((folder / "session").iterdir())) == 3


def test_refused(folder: Path) -> None:
    with pytest.raises(LinkError, match="must be there to be brought along.*/camera: .*gone.avi"):
        place_movies(watching("films/0.avi", "gone.avi"), folder / "session.nwb")
    with pytest.raises(ParnwbError, match="how must be one of copy, move, got 'link'"):
        place_movies(watching("films/0.avi"), folder / "session.nwb", how="link")
    with pytest.raises(LinkError, match="two series name cannot be moved"):
        place_movies(watching("films/0.avi", "films/0.avi"), folder / "session.nwb", how="move")
    with pytest.raises(ParnwbError, match="the root must have the NWBFile"):
        place_movies(None, folder / "session.nwb")
    nwbfile = watching("films/0.avi")
    (folder / "session").mkdir()
    (folder / "session" / f"{nwbfile.acquisition['camera'].object_id}_external_file_0.avi").touch()
    with pytest.raises(LinkError, match="must not replace another file"):
        place_movies(nwbfile, folder / "session.nwb")
    assert len(list((folder / "films").iterdir())) == 3
