"""What neuroconv, roiextractors and spikeinterface hand to pynwb is written as pynwb writes it, on any number of ranks.

Traps that are theirs: TIFF iterators that cannot be pickled, video iterators that ignore where they are asked to begin,
recordings whose values depend on where a read begins. Each rank count is one launch, which also verifies the files of
the launch before it.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pynwb
import pytest
from mpi_launch import run_mpi

from parnwb.planning import plan
from parnwb.site import parallel_hdf5
from parnwb.sources import Access, as_source
from parnwb.sources.iterator import probed

for needed in ("neuroconv", "roiextractors", "tifffile", "cv2", "spikeinterface", "scipy", "av"):
    pytest.importorskip(needed, reason='needs the extras "convert" and "test"')

from contract.cases import filled
from contract.compare import Allowed, Snapshot, differences, snapshot
from contract.contents.libraries import CONTENTS, GRID_BYTES, Content, lazy, raw
from contract.libraries_program import BUFFERS_MB, check, write
from contract.media import prepare_media
from contract.roads import numbers_of_ranks

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore")]

RANKS = numbers_of_ranks(1, 2, 3, 5)
BACKENDS = ["direct", *(["mpio"] if parallel_hdf5() else [])]
FILES = [
    pytest.param(name, backend, buffer_mb, id=f"{name}-{backend}-{buffer_mb}")
    for backend in BACKENDS
    for buffer_mb in BUFFERS_MB
    for name in (CONTENTS if buffer_mb == BUFFERS_MB[0] else ["lazy"])
]


class Launches:
    """The files of all launches, and those of pynwb."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inputs = folder, folder / "inputs"
        self.inputs.mkdir()
        prepare_media(self.inputs)
        previous: list[Path] = []
        for ranks in RANKS:
            outputs = folder / f"{ranks}-ranks"
            program = Path(__file__).with_name("libraries_program.py")
            done = run_mpi(ranks, [sys.executable, program, self.inputs, outputs, *previous], timeout=150)
            assert done.returncode == 0, f"{' '.join(done.args)}\n{done.stdout[-500:]}\n{done.stderr[-5000:]}"
            previous = [outputs]
        self._expected: dict[str, Snapshot] = {}

    def expected(self, name: str) -> Snapshot:
        """Return what pynwb alone writes."""
        if name not in self._expected:
            self._expected[name] = by_pynwb(CONTENTS[name], name, self.inputs, self.folder / f"{name}.nwb")
        return self._expected[name]

    def left(self, ranks: int, file: str) -> Path:
        """Return a file that a launch left, which must not have failed."""
        path = self.folder / f"{ranks}-ranks" / file
        failed = path.with_suffix(".failed")
        assert not failed.exists(), failed.read_text()
        return path


def by_pynwb(content: Content, name: str, inputs: Path, path: Path) -> Snapshot:
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(filled(content, name, inputs), cache_spec=False)
    return snapshot(path)


@pytest.fixture(scope="module")
def launches(tmp_path_factory: pytest.TempPathFactory) -> Launches:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Launches(tmp_path_factory.mktemp("libraries"))


@pytest.fixture
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "READ_GRID_BYTES", GRID_BYTES)


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize(("name", "backend", "buffer_mb"), FILES)
def test_file_is_the_one_that_pynwb_writes(
    launches: Launches, name: str, backend: str, buffer_mb: float, ranks: int
) -> None:
    found = snapshot(launches.left(ranks, f"{backend}-{buffer_mb}/{name}.nwb"))
    mpio = backend == "mpio"
    allowed = Allowed(fill_and_allocation_time=mpio, early_allocation=mpio)
    different = differences(launches.expected(name), found, allowed)
    assert not different, "\n".join(different)


@pytest.mark.parametrize("ranks", RANKS[1:])
@pytest.mark.parametrize(("name", "backend", "buffer_mb"), FILES)
def test_verify_finds_it_good_with_other_ranks_and_buffers(
    launches: Launches, name: str, backend: str, buffer_mb: float, ranks: int
) -> None:
    said = launches.left(ranks, f"{backend}-{buffer_mb}/{name}.verdict").read_text().splitlines()
    bulk = [path for path in launches.expected(name) if path.endswith("/data")]
    assert len(bulk) >= 2 and said == ["good", *sorted(bulk)]


# -- the traps are real ------------------------------------------------------------------------------------------------


def test_filtered_values_depend_on_where_reads_begin(launches: Launches) -> None:
    """Else the files would be equal whatever the grid."""
    other = by_pynwb(lazy(5 * GRID_BYTES), "lazy", launches.inputs, launches.folder / "other.nwb")
    different = differences(launches.expected("lazy"), other, Allowed())
    for series in ("highpass_filter", "phase_shift", "chain"):
        assert any(line.startswith(f"/acquisition/{series}/data: values") for line in different), different


def test_verify_notices_another_grid(launches: Launches, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = launches.left(1, f"direct-{BUFFERS_MB[0]}/lazy.nwb")
    for grid, verdict in ((GRID_BYTES, "good"), (2 * GRID_BYTES, "bad")):
        monkeypatch.setattr(plan, "READ_GRID_BYTES", grid)
        check("lazy", path, tmp_path / "verdict", launches.inputs, 1)
        assert (tmp_path / "verdict").read_text().startswith(verdict)


def sources_of(name: str, inputs: Path) -> dict[str, object]:
    """Return what the series of a case are read from, by name; bare or in H5DataIO."""
    series = filled(CONTENTS[name], name, inputs).acquisition
    return {key: getattr(item.data, "data", item.data) for key, item in series.items()}


def test_videos_are_sequential_with_and_without_a_probe(launches: Launches) -> None:
    videos = sources_of("video", launches.inputs)
    assert {as_source(data).access for data in videos.values()} == {Access.SEQUENTIAL}
    again = sources_of("video", launches.inputs)
    assert {probed(data).access for data in again.values()} == {Access.SEQUENTIAL}  # type: ignore[arg-type]


def test_seeking_in_a_video_of_uneven_rate_finds_other_frames(launches: Launches) -> None:
    """Why videos are not divided: neuroconv's iterator can seek, and its frames are not those that pynwb writes."""
    for name, missed in (("video_mp4", False), ("uneven_mp4", True)):
        iterator: Any = sources_of("video", launches.inputs)[name]
        expected = launches.expected("video")[f"/acquisition/{name}/data"]["values"]
        frames = [iterator[number : number + 1] for number in range(55)]
        assert (not np.array_equal(np.concatenate(frames), expected[:55])) is missed, name


def test_tiff_iterators_can_be_divided_and_not_sent(launches: Launches) -> None:
    tiffs = sources_of("tiff", launches.inputs)
    assert {as_source(data).access for data in tiffs.values()} == {Access.GRIDDED}
    for ranks in RANKS[1:]:
        folder = launches.folder / f"{ranks}-ranks" / "root-only"
        assert [path.name for path in folder.iterdir()] == ["tiff.failed"], "nothing is left of a file"
        reason = (folder / "tiff.failed").read_text()
        assert "NotSendableError" in reason and "Build the NWBFile on every rank" in reason
        assert "/acquisition/one/data" in reason
    launches.left(1, "root-only/tiff.nwb")  # one rank has no other to send to


def test_lazily_filtered_recordings_are_gridded(launches: Launches) -> None:
    lazily = sources_of("lazy", launches.inputs)
    assert {as_source(data).access for data in lazily.values()} == {Access.GRIDDED}
    assert raw(launches.inputs).check_serializability("pickle")


def test_one_process_without_a_communicator(launches: Launches, small_grid: None, tmp_path: Path) -> None:
    for name in CONTENTS:
        write(name, tmp_path / f"{name}.nwb", launches.inputs, backend="direct")
        assert not differences(launches.expected(name), snapshot(tmp_path / f"{name}.nwb"), Allowed())
