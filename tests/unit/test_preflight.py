"""What DANDI would refuse or advise, finding by finding; pynwb's validator has nothing to say of any of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pynwb
import pytest
from docs.external_files import session
from pynwb import NWBHDF5IO, TimeSeries
from pynwb.image import ImageSeries

from parnwb import preflight, verification
from parnwb.errors import ParnwbError
from parnwb.finding import Finding

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore::UserWarning")]
DATA = "/acquisition/raw/data"
ROWS, COLUMNS = 400, 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file that DANDI takes as it is."""
    nwbfile = session()
    nwbfile.add_acquisition(TimeSeries(name="raw", data=np.ones((ROWS, COLUMNS)), unit="V", rate=30.0))
    (tmp_path / "movie.avi").touch()
    movie = {"external_file": ["movie.avi"], "format": "external", "rate": 25.0, "num_samples": 1}
    nwbfile.add_acquisition(ImageSeries(name="camera", **movie))
    with NWBHDF5IO(tmp_path / "out.nwb", "w") as io:
        io.write(nwbfile)
    return tmp_path / "out.nwb"


def replaced(file: h5py.File, **settings: object) -> h5py.Dataset:
    """Put another dataset with the same attributes in the place of the data."""
    attributes = dict(file[DATA].attrs)
    del file[DATA]
    dataset = file.create_dataset(DATA, **settings)
    dataset.attrs.update(attributes)
    return dataset


def linked(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "raw.h5", "w") as other:
        file.copy(DATA, other, "data")
    del file[DATA]
    file[DATA] = h5py.ExternalLink("raw.h5", "/data")


def external(file: h5py.File, folder: Path) -> None:
    np.ones((ROWS, COLUMNS), "i2").tofile(folder / "raw.bin")
    where = [(str(folder / "raw.bin"), 0, ROWS * COLUMNS * 2)]
    replaced(file, shape=(ROWS, COLUMNS), dtype="i2", external=where)


def virtual(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "part.h5", "w") as other:
        other["x"] = np.ones((ROWS, COLUMNS))
    attributes = dict(file[DATA].attrs)
    file["own"] = file[DATA]
    del file[DATA]
    layout = h5py.VirtualLayout((2, ROWS, COLUMNS), "f8")
    layout[0] = h5py.VirtualSource("part.h5", "x", (ROWS, COLUMNS))
    layout[1] = h5py.VirtualSource(file["own"])
    file.create_virtual_dataset(DATA, layout).attrs.update(attributes)


def named_absolutely(file: h5py.File, folder: Path) -> None:
    file["/acquisition/camera/external_file"][0] = str(folder / "movie.avi")


def uncompressed(file: h5py.File, folder: Path) -> None:
    replaced(file, shape=(8 * 10**6, COLUMNS), dtype="i2")  # never written, so that it takes no room


def in_small_chunks(file: h5py.File, folder: Path) -> None:
    replaced(file, shape=(2 * 10**6, COLUMNS), dtype="i2", chunks=(1000, COLUMNS))


def in_large_chunks(file: h5py.File, folder: Path) -> None:
    replaced(file, shape=(4 * 10**6, COLUMNS), dtype="i2", chunks=(4 * 10**6, COLUMNS))


REFUSED = {
    "a link": (linked, DATA, "links to raw.h5: DANDI takes no external links; write with link_data=False"),
    "a flat file": (external, DATA, "raw.bin, which is not uploaded: write them into the file"),
    "a part": (virtual, DATA, "has its values in part.h5, which is not uploaded"),
    "an absolute path": (named_absolutely, "/acquisition/camera/external_file", "by an absolute path.*place_movies"),
}
ADVICE = {
    "no compression": (uncompressed, DATA, "has 64 MB without chunks and compression: write with compression='auto'"),
    "small chunks": (in_small_chunks, DATA, r"has chunks \(1000, 4\) of 0.008 MB: over a network 2 to 16 MB"),
    "large chunks": (in_large_chunks, DATA, r"has chunks \(4000000, 4\) of 32 MB"),
}


def change(path: Path, how: Callable[[h5py.File, Path], None]) -> None:
    with h5py.File(path, "r+") as file:
        how(file, path.parent)


def quiet_inspector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nwbinspector out, which has tests of its own."""
    monkeypatch.setattr(preflight, "_inspect", lambda path, refused, advice: None)


def check_told(found: tuple[Finding, ...], where: str, words: str) -> None:
    assert len(found) == 1, found
    assert found[0].path == where and re.search(words, found[0].what), found[0]


@pytest.mark.parametrize("name", REFUSED)
def test_refused(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    how, where, words = REFUSED[name]
    quiet_inspector(monkeypatch)
    change(path, how)
    said = preflight.preflight(path)
    check_told(said.refused, where, words)
    assert not said.advice
    assert pynwb.validate(path=str(path)) == []


@pytest.mark.parametrize("name", ADVICE)
def test_advised(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    how, where, words = ADVICE[name]
    quiet_inspector(monkeypatch)
    change(path, how)
    said = preflight.preflight(path)
    check_told(said.advice, where, words)
    assert not said.refused
    assert pynwb.validate(path=str(path)) == []


def test_too_large(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet_inspector(monkeypatch)
    monkeypatch.setattr(preflight, "MAX_FILE_BYTES", path.stat().st_size - 1)
    check_told(preflight.preflight(path).refused, "/", "TB, DANDI takes .*write a file for each part")


def test_a_file_that_is_taken(path: Path) -> None:
    pytest.importorskip("nwbinspector", reason='needs the extra "inspect"')
    assert preflight.preflight(path).refused == ()


def test_what_the_inspector_finds_critical(path: Path) -> None:
    pytest.importorskip("nwbinspector", reason='needs the extra "inspect"')
    change(path, lambda file, _: file.__delitem__("/general/subject"))
    change(path, lambda file, _: file["/session_description"].__setitem__((), ""))
    said = preflight.preflight(path)
    assert any("Subject is missing" in item.what and "check_subject_exists" in item.what for item in said.refused)
    assert said.advice, "what is no more than a suggestion is advice"
    (subject,) = [item.what for item in said.refused if "check_subject_exists" in item.what]
    assert "nwbinspector's check_subject_exists, critical; what to do: https://nwbinspector" in subject
    assert all("what to do: https://" in item.what for item in said.refused + said.advice)
    assert any(re.search("best practice suggestion; what to do: .*, best_practice_", item.what) for item in said.advice)
    assert pynwb.validate(path=str(path)) == []


def test_no_inspector_is_told_before_anything_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nwbinspector", None)
    said = r"nwbinspector, which DANDI asks, is not installed.*parnwb\[inspect\]"
    with pytest.raises(ParnwbError, match=said):
        preflight.preflight(path)
    check_refused_first(path, said, monkeypatch)


def test_a_store_is_told_before_anything_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = path.parent / "out.nwb.zarr"
    store.mkdir()
    check_refused_first(store, "known of HDF5 files only", monkeypatch)


def check_refused_first(path: Path, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that ``verify`` refuses before it has found anything, which would be lost."""

    def read(*arguments: object) -> None:
        raise AssertionError("something was looked at")

    monkeypatch.setattr(verification, "on_disk", read)
    with pytest.raises(ParnwbError, match=said):
        verification.verify(path, dandi=True)


def test_what_the_inspector_cannot_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inspector = pytest.importorskip("nwbinspector", reason='needs the extra "inspect"')

    def fail(**keywords: object) -> None:
        raise OSError("no such namespace")

    monkeypatch.setattr(inspector, "inspect_nwbfile", fail)
    check_told(preflight.preflight(path).refused, "/", "cannot be read by nwbinspector: OSError: no such namespace")
