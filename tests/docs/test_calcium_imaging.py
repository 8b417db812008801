"""The example of calcium imaging, on several ranks, leaves the file that pynwb writes."""

from __future__ import annotations

import os
import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract.compare import Allowed, Snapshot, comparable, differences
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO, validate

tifffile = pytest.importorskip("tifffile", reason='needs the extra "test"')

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "calcium_imaging.py"
BIGTIFF = 43  # the version in the header; 42 is that of classic TIFF
KINDS: dict[str, dict[str, Any]] = {"mapped": {}, "packed": {"compression": "zlib"}}


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


@pytest.fixture(scope="module", params=KINDS)
def session(request: pytest.FixtureRequest, example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp(request.param) / "session"
    example["make"](folder, frames=700, rois=20, side=96, **KINDS[request.param])
    return folder


@pytest.fixture(scope="module")
def expected(session: Path, example: dict[str, Any]) -> Iterator[Snapshot]:
    path = session.parent / "by_pynwb.nwb"
    with NWBHDF5IO(path, "w") as io:
        io.write(example["build"](session))
    yield comparable(path)
    shutil.rmtree(session.parent)


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.once), pytest.param(3, marks=pytest.mark.once), 4])
def test_file_is_the_one_that_pynwb_writes(session: Path, expected: Snapshot, ranks: int) -> None:
    output = session.parent / f"{ranks}.nwb"
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    done = run_mpi(ranks, [sys.executable, EXAMPLE, session, output], timeout=90, env=environment)
    assert done.returncode == 0, done.stderr
    different = differences(expected, comparable(output), Allowed())
    assert not different, "\n".join(different)
    assert not validate(path=str(output))


def test_stack_is_a_bigtiff_and_its_frames_are_in_the_file(session: Path, expected: Snapshot) -> None:
    assert (session / "movie.tif").read_bytes()[2] == BIGTIFF
    movie = expected["/acquisition/TwoPhotonSeries/data"]
    assert np.array_equal(movie["values"], tifffile.imread(session / "movie.tif"))
    assert movie["chunks"][1:] == movie["shape"][1:] and movie["chunks"][0] < movie["shape"][0]
