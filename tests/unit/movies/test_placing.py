"""Movies beside the file: their names, what becomes of the originals, and what is refused."""

from __future__ import annotations

import os
import stat
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from failure.faults.material import session
from pynwb import NWBHDF5IO, TimeSeries
from pynwb.image import ImageSeries

from parnwb import NWBParallelIO, place_movies
from parnwb.comm import Ranks
from parnwb.errors import LinkError, ParnwbError, StorageError
from parnwb.movies import placing
from parnwb.movies.names import placed_name
from parnwb.recordings.conversion import write_built


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


def test_names_are_safe_before_the_originals_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or both could be gone after a power failure."""
    calls: list[tuple[str, str]] = []

    def noted(module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(path: Any, *more: Any) -> Any:
            calls.append((name, Path(path).name))
            return real(path, *more)

        monkeypatch.setattr(module, name, call)

    for module, name in ((os, "replace"), (os, "unlink"), (placing, "sync_folder")):
        noted(module, name)
    nwbfile = watching("films/0.avi", "films/2.avi")
    place_movies(nwbfile, folder / "session.nwb", how="move")
    own = nwbfile.acquisition["camera"].object_id
    named = [("replace", f"{own}_external_file_{number}.avi.partial") for number in range(2)]
    gone = [("unlink", "0.avi"), ("unlink", "2.avi")]
    after = [call for call in calls if not call[1].endswith(".partial") or call[0] != "unlink"]
    assert after == [*named, ("sync_folder", "session"), ("sync_folder", folder.name), *gone]


@pytest.mark.parametrize("how", ["copy", "move"])
@pytest.mark.parametrize("fails", ["_copy_piece", "sync_folder"])
def test_what_fails_leaves_the_originals_and_nothing_else(
    folder: Path, how: str, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise StorageError("the disk is gone")

    monkeypatch.setattr(placing, fails, fail)
    nwbfile = watching("films/0.avi", "films/2.avi")
    with pytest.raises(StorageError, match="the disk is gone"):
        place_movies(nwbfile, folder / "session.nwb", how=how)
    assert sorted(path.name for path in (folder / "films").iterdir()) == ["0.avi", "1.avi", "2.avi"]
    assert not list((folder / "session").iterdir())
    assert list(nwbfile.acquisition["camera"].external_file) == ["films/0.avi", "films/2.avi"]


def test_a_link_in_place_of_the_partial_file_is_not_followed(folder: Path) -> None:
    nwbfile = watching("films/0.avi")
    name = f"{nwbfile.acquisition['camera'].object_id}_external_file_0.avi"
    (folder / "session").mkdir()
    (folder / "mine").write_text("kept")
    (folder / "session" / f"{name}.partial").symlink_to(folder / "mine")
    place_movies(nwbfile, folder / "session.nwb")
    assert (folder / "mine").read_text() == "kept"
    assert not (folder / "session" / name).is_symlink()
    assert (folder / "session" / name).read_bytes() == (folder / "films" / "0.avi").read_bytes()


def test_copies_are_no_more_open_than_the_original_at_any_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "films" / "0.avi").chmod(0o640)
    real, modes = placing._copy_piece, []

    def seen(item: Any, *more: Any) -> None:
        modes.append(stat.S_IMODE(item.partial.stat().st_mode))
        real(item, *more)

    monkeypatch.setattr(placing, "_copy_piece", seen)
    nwbfile = watching("films/0.avi")
    (name,) = place_movies(nwbfile, folder / "session.nwb")["/camera"]
    assert set(modes) == {0o640} and stat.S_IMODE((folder / name).stat().st_mode) == 0o640


def test_a_file_that_appears_meanwhile_is_not_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nwbfile = watching("films/0.avi", "films/2.avi")
    own = nwbfile.acquisition["camera"].object_id
    another = folder / "session" / f"{own}_external_file_1.avi"
    real = placing._copy_piece

    def appears(*arguments: Any) -> None:
        another.write_text("another's")
        real(*arguments)

    monkeypatch.setattr(placing, "_copy_piece", appears)
    with pytest.raises(LinkError, match="must not replace another file"):
        place_movies(nwbfile, folder / "session.nwb", how="move")
    assert another.read_text() == "another's"
    assert [path.name for path in (folder / "session").iterdir()] == [another.name]
    assert len(list((folder / "films").iterdir())) == 3


# -- around the writing of the file --------------------------------------------------------------------------------


def films(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "films").iterdir())


@pytest.mark.parametrize(("how", "left"), [("copy", ["0.avi", "1.avi", "2.avi"]), ("move", ["1.avi"])])
def test_originals_go_when_the_file_is_whole(folder: Path, how: str, left: list[str]) -> None:
    nwbfile = watching("films/0.avi", "films/2.avi")
    with placing.movies_beside(nwbfile, folder / "session.nwb", None, how) as named:
        assert list(nwbfile.acquisition["camera"].external_file) == named["/camera"]
        assert films(folder) == ["0.avi", "1.avi", "2.avi"]
        assert all((folder / name).is_file() for name in named["/camera"])
    assert films(folder) == left and len(list((folder / "session").iterdir())) == 2


@pytest.mark.parametrize("how", ["copy", "move"])
def test_copies_of_a_file_that_fails_go_and_what_is_beside_them_stays(folder: Path, how: str) -> None:
    for note in (False, True):
        if note:
            (folder / "session").mkdir()
            (folder / "session" / "note").touch()
        with pytest.raises(StorageError, match="the disk is full"):
            with placing.movies_beside(watching("films/0.avi"), folder / "session.nwb", None, how):
                raise StorageError("the disk is full")
        assert films(folder) == ["0.avi", "1.avi", "2.avi"]
        assert [path.name for path in folder.glob("session/*")] == ["note"] * note
        assert (folder / "session").exists() is note


@pytest.mark.parametrize("how", ["copy", "move"])
def test_copies_stay_where_a_job_was_asked_to_stop(folder: Path, how: str) -> None:
    """What it has committed names them; the next job needs the originals."""
    (folder / "session.nwb.partial.journal").touch()
    nwbfile = watching("films/0.avi")
    with pytest.raises(SystemExit), placing.movies_beside(nwbfile, folder / "session.nwb", None, how):
        raise SystemExit(75)
    assert films(folder) == ["0.avi", "1.avi", "2.avi"]
    (name,) = nwbfile.acquisition["camera"].external_file
    assert (folder / name).read_bytes() == (folder / "films" / "0.avi").read_bytes()


@pytest.mark.parametrize("asks_again", [False, True])
@pytest.mark.parametrize("how", ["copy", "move"])
@pytest.mark.filterwarnings("ignore:external images")
def test_a_file_that_was_begun_with_copies_is_resumed_with_them(
    folder: Path, how: str, asks_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the same is asked for once more, as a job script does. Movies are named from the working folder."""
    tifffile = pytest.importorskip("tifffile", reason='needs the extra "movies"')
    path, frames = folder / "session.nwb", folder / "films" / "9.tif"
    tifffile.imwrite(frames, np.arange(9 * 64, dtype=np.uint8).reshape(9, 8, 8), photometric="minisblack")
    size = frames.stat().st_size
    monkeypatch.chdir(folder / "films" if asks_again else folder)

    def begun() -> Any:
        nwbfile = watching("9.tif" if asks_again else "films/9.tif")
        nwbfile.add_acquisition(TimeSeries(name="bulk", data=np.arange(40000), unit="V", rate=1.0))
        return nwbfile

    nwbfile = begun()
    with pytest.raises(StorageError, match="the disk is full"):
        with placing.movies_beside(nwbfile, path, None, how) as named:
            with NWBParallelIO(path, "w", backend="direct", progress=False) as io:
                io.write(nwbfile)
                io.commit()
                raise StorageError("the disk is full")
    if asks_again:
        ranks = Ranks(None)
        with pytest.warns(UserWarning, match="originals stay") if how == "move" else nullcontext():
            write_built(ranks, begun, path, "resume", movies=how, backend="direct", progress=False)
        ranks.free()
    else:
        with NWBParallelIO(path, "resume", backend="direct", progress=False) as io:
            io.write(begun())
    assert frames.exists()
    with NWBHDF5IO(path, "r") as io:
        (found,) = io.read().acquisition["camera"].external_file
    assert [found] == named["/camera"] and (folder / found).stat().st_size == size


@pytest.mark.parametrize(
    ("name", "expected"), [("a.nwb", "a"), ("a.nwb.zarr", "a"), ("a.h5", "a"), ("a.b.nwb", "a.b"), ("a", "a.movies")]
)
def test_movies_have_a_folder_of_the_files_name(name: str, expected: str) -> None:
    assert placed_name(Path("there") / name, "id", 2, ".avi") == f"{expected}/id_external_file_2.avi"


def test_a_file_in_the_folders_place_is_refused(folder: Path) -> None:
    (folder / "session").write_text("mine")
    with pytest.raises(LinkError, match="movies go into a folder of the file's name"):
        placing.place_movies(watching("films/0.avi"), folder / "session.nwb")


def test_names_of_the_working_folder_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths may be kept as they were given, by neuroconv; only what is not there is looked for beside the file."""
    monkeypatch.chdir(folder / "films")
    for name in ("2.avi", "3.avi"):
        (folder / name).write_bytes(b"beside the file")
    nwbfile = watching("0.avi", "2.avi", "3.avi")
    with placing.movies_beside(nwbfile, folder / "session.nwb", None, "copy") as named:
        first, second, third = named["/camera"]
    assert (folder / first).stat().st_size == 2500 and (folder / second).read_bytes() == b"x" * 999
    assert (folder / third).read_bytes() == b"beside the file"


def test_a_file_of_another_of_the_same_name_is_not_moved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "films")
    (folder / "2.avi").write_bytes(b"another's")
    with placing.movies_beside(watching("2.avi"), folder / "session.nwb", None, "move") as named:
        (name,) = named["/camera"]
    assert (folder / name).read_bytes() == b"x" * 999
    assert (folder / "2.avi").read_bytes() == b"another's" and films(folder) == ["0.avi", "1.avi"]


# -- movies that change meanwhile ----------------------------------------------------------------------------------


def added_to(path: Path) -> bytes:
    with path.open("ab") as file:
        file.write(b"more")
    return path.read_bytes()


@pytest.mark.parametrize("change", ["grows", "is written again", "is another file"])
@pytest.mark.parametrize("how", ["copy", "move"])
def test_a_movie_that_changes_while_it_is_copied(
    folder: Path, how: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, real = folder / "films" / "0.avi", placing._copy_piece

    def changes(*arguments: Any) -> None:
        real(*arguments)
        if change == "grows":
            added_to(film)
        elif change == "is written again":
            film.write_bytes(bytes(2500))
        elif not (folder / "old.avi").exists():
            film.replace(folder / "old.avi")
            film.write_bytes(bytes(2500))
            os.utime(film, ns=(0, (folder / "old.avi").stat().st_mtime_ns))

    monkeypatch.setattr(placing, "_copy_piece", changes)
    with pytest.raises(LinkError, match="must not change while it is copied: it had 2500 bytes.*0.avi.*has ended"):
        place_movies(watching("films/0.avi", "films/2.avi"), folder / "session.nwb", how=how)
    assert films(folder) == ["0.avi", "1.avi", "2.avi"] and not list((folder / "session").iterdir())


def test_a_movie_that_grows_before_it_would_be_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film, real = folder / "films" / "0.avi", placing._publish

    def published(*arguments: Any) -> None:
        real(*arguments)
        added_to(film)

    monkeypatch.setattr(placing, "_publish", published)
    with pytest.raises(LinkError, match="it had 2500 bytes and has 2504"):
        place_movies(watching("films/2.avi", "films/0.avi"), folder / "session.nwb", how="move")
    assert films(folder) == ["0.avi", "1.avi", "2.avi"] and film.read_bytes().endswith(b"more")
    assert not list(folder.glob("session/*"))


def test_a_movie_that_grows_while_the_file_is_written_stays(folder: Path) -> None:
    """The file is whole, and its copies stay with it: what was added is nowhere else than in the original."""
    with pytest.raises(LinkError, match="it had 2500 bytes and has 2504.*It stays where it is"):
        with placing.movies_beside(watching("films/2.avi", "films/0.avi"), folder / "session.nwb", None, "move"):
            whole = added_to(folder / "films" / "0.avi")
    assert films(folder) == ["0.avi", "1.avi", "2.avi"] and (folder / "films" / "0.avi").read_bytes() == whole
    assert len(list((folder / "session").iterdir())) == 2


@pytest.mark.filterwarnings("ignore:external images")
def test_a_file_that_was_begun_without_copies_gets_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile = pytest.importorskip("tifffile", reason='needs the extra "movies"')
    path = folder / "session.nwb"
    tifffile.imwrite(folder / "films" / "9.tif", np.zeros((9, 8, 8), np.uint8), photometric="minisblack")
    monkeypatch.chdir(folder)

    def begun() -> Any:
        nwbfile = watching("films/9.tif")
        nwbfile.add_acquisition(TimeSeries(name="bulk", data=np.arange(40000), unit="V", rate=1.0))
        return nwbfile

    with pytest.raises(StorageError, match="the disk is full"):
        with NWBParallelIO(path, "w", backend="direct", progress=False) as io:
            io.write(begun())
            io.commit()
            raise StorageError("the disk is full")
    ranks = Ranks(None)
    with pytest.raises(LinkError, match="begun with movies that stay where they are"):
        write_built(ranks, begun, path, "resume", movies="copy", backend="direct", progress=False)
    write_built(ranks, begun, path, "resume", backend="direct", progress=False)
    ranks.free()
    with NWBHDF5IO(path, "r") as io:
        assert list(io.read().acquisition["camera"].external_file) == ["films/9.tif"]
