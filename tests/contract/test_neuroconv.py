"""run_conversion and the YAML specification leave the file that neuroconv's own leave, on any number of ranks."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
from mpi_launch import run_mpi

for needed in ("neuroconv", "roiextractors", "tifffile", "spikeinterface", "scipy"):
    pytest.importorskip(needed, reason='needs the extras "convert" and "test"')

from contract.compare import Allowed, Snapshot, comparable, differences
from contract.conversions import CASES, prepare_conversions
from contract.roads import numbers_of_ranks

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore")]

RANKS = numbers_of_ranks(1, 2, 3, 4)
# neuroconv takes the order of the columns of its tables from sets of strings, which is another one in every process. In
# these tests the root's is neuroconv's, and the others have their own.
WITH_OWN_SEEDS = ("sh", "-c", 'PYTHONHASHSEED=${PMI_RANK:-${OMPI_COMM_WORLD_RANK:-0}} exec "$0" "$@"')
FILES = [*CASES, "ephys", "movie"]  # the last two are the sessions of the specification


class Launches:
    """The files of all launches, and those of neuroconv."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        inputs = folder / "inputs"
        inputs.mkdir()
        prepare_conversions(inputs)
        program = Path(__file__).with_name("neuroconv_program.py")
        for ranks in RANKS:
            oracles = [folder / "oracles"] if ranks == 1 else []
            program_of_rank = [sys.executable, "-m", "mpi4py", program, inputs, folder / f"{ranks}-ranks", *oracles]
            done = run_mpi(ranks, [*WITH_OWN_SEEDS, *program_of_rank], timeout=240)
            assert done.returncode == 0, f"{' '.join(done.args)}\n{done.stdout[-500:]}\n{done.stderr[-5000:]}"
        self._snapshots: dict[Path, Snapshot] = {}

    def left(self, folder: str, name: str) -> Snapshot:
        """Return what a file holds, without what every process makes anew."""
        path = self.folder / folder / f"{name}.nwb"
        failures = [path.with_suffix(".failed"), path.with_name("yaml.failed")]
        failed = next((failure for failure in failures if failure.exists() and not path.exists()), None)
        assert failed is None, failed.read_text()
        if path not in self._snapshots:
            self._snapshots[path] = comparable(path)
        return self._snapshots[path]


@pytest.fixture(scope="module")
def launches(tmp_path_factory: pytest.TempPathFactory) -> Launches:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Launches(tmp_path_factory.mktemp("conversions"))


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("name", FILES)
def test_file_is_the_one_that_neuroconv_writes(launches: Launches, name: str, ranks: int) -> None:
    mpio = name == "mpio"
    allowed = Allowed(fill_and_allocation_time=mpio, early_allocation=mpio)
    found = launches.left(f"{ranks}-ranks", name)
    different = differences(launches.left("oracles", name), found, allowed)
    assert not different, "\n".join(different)


@pytest.mark.parametrize("name", FILES)
def test_file_does_not_depend_on_the_number_of_ranks(launches: Launches, name: str) -> None:
    one = launches.left("1-ranks", name)
    for ranks in RANKS[1:]:
        other = launches.left(f"{ranks}-ranks", name)
        assert not differences(one, other, Allowed(size_ratio=1.0))
        stored = {path: entry.get("stored bytes") for path, entry in one.items()}
        assert {path: entry.get("stored bytes") for path, entry in other.items()} == stored


def test_nothing_else_is_left(launches: Launches) -> None:
    for ranks in RANKS:
        left = {path.name for path in (launches.folder / f"{ranks}-ranks").iterdir()}
        assert left == {f"{name}.nwb" for name in FILES}


def test_filtered_values_depend_on_where_reads_begin(launches: Launches) -> None:
    """Else the case would prove nothing."""
    raw, filtered = (launches.left("oracles", name) for name in ("two_interfaces", "filtered"))
    data = "/acquisition/ElectricalSeriesAP/data"
    assert raw[data]["shape"] == filtered[data]["shape"]
    assert (raw[data]["values"] != filtered[data]["values"]).any()
