"""What a priority promises: the first commit has all of what comes first, and whoever resumes may order otherwise."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pynwb
import pytest
from contract.cases import START, filled
from contract.compare import Allowed, differences, snapshot
from hdmf.data_utils import DataChunkIterator
from mpi_launch import run_mpi
from pynwb import H5DataIO

from parnwb import Distributed, NWBParallelIO
from parnwb.commits.journal import frames
from parnwb.layout import FileLayout

pytestmark = pytest.mark.mpi_skip
RANKS = 3


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queue")
    program = Path(__file__).with_name("queue_program.py")
    done = run_mpi(RANKS, [sys.executable, program, folder], timeout=150)
    assert done.returncode == 0, f"{done.stdout[-500:]}\n{done.stderr[-5000:]}"
    return folder


@pytest.fixture(scope="module")
def errors(outputs: Path) -> list[list[str]]:
    return [(outputs / f"{rank}.errors").read_text().splitlines() for rank in range(RANKS)]


def test_the_first_commit_has_all_that_is_urgent(outputs: Path) -> None:
    first, second, *_ = [frame for frame, _ in frames(outputs / "first.kept")]
    layout = FileLayout.from_json(first.description["layout"])
    large, urgent, _ = range(3)
    counts = np.bincount(second.records[:, 0], minlength=3)
    assert [spec.path.split("/")[2] for spec in layout] == ["large", "urgent", "z_faulty"]
    assert len(first.records) == 0
    assert counts[urgent] == layout.datasets[urgent].grid.size
    assert counts[large] < layout.datasets[large].grid.size, "it did not wait for the rest"


def test_files_are_those_of_pynwb_whatever_the_queue_and_after_a_resume(outputs: Path, monkeypatch) -> None:
    from contract.queue_program import Faulty, content

    monkeypatch.setattr(Faulty, "broken", False)
    with warnings.catch_warnings(), pynwb.NWBHDF5IO(outputs / "pynwb.nwb", "w") as io:
        warnings.simplefilter("ignore")
        io.write(filled(content, "queue", outputs), cache_spec=False)
    expected = snapshot(outputs / "pynwb.nwb")
    for name in ("first", "second"):
        different = differences(expected, snapshot(outputs / f"{name}.nwb"), Allowed())
        assert not different, "\n".join(different)


def test_all_ranks_say_the_same(errors: list[list[str]]) -> None:
    assert errors[0] == errors[1] == errors[2]
    failed, named, mapped, functions = errors[0]
    assert "the disk is gone" in failed
    assert "queue must be the same on all ranks: rank 0 has 'largest', rank 1 has 'file'" in named
    assert "queue must be the same on all ranks" in mapped and "/acquisition/urgent/*" in mapped
    assert ".one" in functions and ".other" in functions and "0x" not in functions


class Told:
    """Remembers which datasets were written, in their order."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def start(self, label: str, total: int) -> None: ...
    def advance(self, done: int, stored: int = 0) -> None: ...
    def finish(self) -> None: ...

    def show(self, what: str) -> None:
        path = what.split()[0].rstrip(",").split("/")[-2]
        if path not in self.paths:
            self.paths.append(path)


def test_spread_data_and_generators_come_after_what_can_be_read_each_in_the_order_of_the_queue(tmp_path: Path) -> None:
    file, told = pynwb.NWBFile("order", "order", START), Told()
    values = np.arange(20_000, dtype="i4")
    kinds = {
        **{f"array_{name}": values for name in "ab"},
        **{f"spread_{name}": Distributed(values, comm=None) for name in "ab"},
        **{f"yielded_{name}": DataChunkIterator(iter(values[:50])) for name in "ab"},
    }
    for name, data in kinds.items():
        file.add_acquisition(pynwb.TimeSeries(name=name, data=H5DataIO(data, chunks=(25,)), unit="V", rate=1.0))
    with NWBParallelIO(tmp_path / "out.nwb", queue={"*_b/data": 0}, progress=told) as io:
        io.write(file)
    assert told.paths == [f"{kind}_{name}" for kind in ("array", "spread", "yielded") for name in "ba"]
