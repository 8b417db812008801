"""Series of external files get the frames of these as data, or are refused where these are not what they say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

pytest.importorskip("av", reason='needs the extra "movies"')
pytest.importorskip("cv2", reason='needs the extra "test"')
pytest.importorskip("tifffile", reason='needs the extra "movies"')

import cv2
import tifffile
from contract.media import FRAMES, prepare_media
from failure.faults.material import session
from pynwb import NWBFile
from pynwb.image import ImageSeries

from parnwb import NWBParallelIO, verify
from parnwb.errors import LinkError, SourceError
from parnwb.movies import ingest_movies

SAID = {"rate": 25.0, "num_samples": FRAMES, "unit": "n.a."}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("movies")
    prepare_media(folder)
    return folder


def filmed(*names: str, **said: Any) -> NWBFile:
    """Return a file with a series of external files, and one of another kind."""
    nwbfile = session(name="other")
    timing = SAID if "timestamps" not in said else {"unit": "n.a."}
    nwbfile.add_acquisition(ImageSeries(name="camera", external_file=list(names), **{**timing, **said}))
    return nwbfile


def shown(path: Path) -> np.ndarray:
    """Return all frames as another library reads them."""
    if path.suffix == ".tif":
        return tifffile.imread(path)
    movie, frames = cv2.VideoCapture(str(path)), []
    while (read := movie.read())[0]:
        frames.append(read[1][..., ::-1])
    return np.stack(frames)


@pytest.mark.parametrize("name", ["one.tif", "video.avi", "video.mp4"])
def test_frames_are_those_that_others_see(folder: Path, tmp_path: Path, name: str) -> None:
    whole = shown(folder / name)
    nwbfile = filmed(name, num_samples=len(whole))
    assert ingest_movies(nwbfile, folder) == 1
    with NWBParallelIO(tmp_path / "out.nwb", progress=False, compression="gzip", bulk_threshold=1024) as io:
        io.write(nwbfile)
    with h5py.File(tmp_path / "out.nwb") as file:
        series = file["acquisition/camera"]
        assert np.array_equal(series["data"], whole) and series["data"].compression == "gzip"
        assert "external_file" not in series and series["format"].asstr()[()] == "raw"
        assert series["starting_time"].attrs["rate"] == 25.0
    assert verify(tmp_path / "out.nwb", against=nwbfile).ok


def test_several_files_are_one_series(folder: Path, tmp_path: Path) -> None:
    names, times = ("video.avi", "video.mp4"), np.arange(2 * FRAMES) / 25 + 7
    nwbfile = filmed(*names, timestamps=times, starting_frame=[0, FRAMES])
    ingest_movies(nwbfile, folder)
    with NWBParallelIO(tmp_path / "out.nwb", progress=False, bulk_threshold=1024) as io:
        io.write(nwbfile)
    with h5py.File(tmp_path / "out.nwb") as file:
        assert np.array_equal(file["acquisition/camera/data"], np.concatenate([shown(folder / n) for n in names]))
        assert np.array_equal(file["acquisition/camera/timestamps"], times)


@pytest.mark.parametrize(
    ("names", "said", "words"),
    [
        (("gone.avi",), {}, "gone.avi is not there"),
        (("video.avi",), {"num_samples": FRAMES + 1}, f"num_samples is {FRAMES + 1}, the files have {FRAMES} frames"),
        (("video.avi",), {"timestamps": np.arange(3) / 25}, f"there are 3 timestamps for {FRAMES} frames"),
        (("video.avi", "video.mp4"), {"num_samples": 2 * FRAMES, "starting_frame": [0, 5]}, "starting_frame is .0, 5"),
        (("uneven.mp4",), {}, "uneven.mp4 has frames at uneven times.*give timestamps"),
        (("https://example.org/a.avi",), {}, "https://example.org/a.avi is no file"),
    ],
)
def test_refused(folder: Path, names: tuple[str, ...], said: dict[str, Any], words: str) -> None:
    nwbfile = filmed(*names, **{"starting_frame": list(range(0, FRAMES * len(names), FRAMES)), **said})
    with pytest.raises(LinkError, match=words) as raised:
        ingest_movies(nwbfile, folder)
    assert raised.value.where == "/camera" and "Correct the series" in str(raised.value)
    assert list(nwbfile.acquisition["camera"].external_file) == list(names)


def test_frames_that_differ_in_type(folder: Path, tmp_path: Path) -> None:
    os.link(folder / "video.avi", tmp_path / "video.avi")
    rows, columns = shown(folder / "video.avi").shape[1:3]
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((FRAMES, rows, columns), "u2"))
    nwbfile = filmed("video.avi", "stack.tif", starting_frame=[0, FRAMES], num_samples=2 * FRAMES)
    with pytest.raises(SourceError, match="frames of one series must have one shape and type"):
        ingest_movies(nwbfile, tmp_path)
