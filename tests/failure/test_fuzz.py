"""Files drawn at random: layouts, chunks, filters, strategies, rank counts. Each is the one that pynwb writes."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from contract.compare import Allowed, differences
from failure.fuzz.drawn import DrawnFile, drawn
from failure.resuming import comparable
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO

from parnwb.site import parallel_hdf5

pytestmark = [pytest.mark.mpi_skip, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "fuzz" / "program.py"
SECONDS = 120
RANKS = (1, 2, 3, 4, 5)
# On each number of ranks: all of them together take half a minute of one core.
FILES = int(os.environ.get("PARNWB_FUZZ", "20"))


def with_backend(file: DrawnFile, number: int) -> DrawnFile:
    """Let parallel HDF5 write every second file, if it can."""
    mpio = parallel_hdf5() and not file.skips_chunks and number % 2 == 1
    transfer = ("independent", "collective")[number // 2 % 2]
    return replace(file, settings={**file.settings, "backend": "mpio" if mpio else "direct", "transfer": transfer})


def by_pynwb(path: Path, file: DrawnFile) -> bool:
    """Write a file with pynwb alone; tell whether it could."""
    try:
        with NWBHDF5IO(path, "w") as io:
            io.write(file.nwbfile(), cache_spec=False)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("ranks", RANKS)
def test_drawn_files(tmp_path: Path, ranks: int) -> None:
    everything = drawn(FILES * len(RANKS))
    share = [with_backend(file, number) for number, file in enumerate(everything[ranks - 1 :: len(RANKS)])]
    assert len(share) > FILES / 2
    cases = tmp_path / "cases.json"
    cases.write_text(json.dumps([file.to_json() for file in share]))
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    argv = [sys.executable, PROGRAM, tmp_path, cases]
    done = run_mpi(ranks, argv, timeout=SECONDS, env={"PYTHONPATH": python_path})
    assert done.returncode == 0, f"{done.stdout[-100:]}\n{done.stderr[-3000:]}"
    wrong = [line for number, file in enumerate(share) for line in faults(tmp_path, number, file)]
    assert not wrong, "\n".join(wrong)


def faults(folder: Path, number: int, file: DrawnFile) -> list[str]:
    """Return what is wrong with one file."""
    path, failed, plain = (folder / f"{number}{end}" for end in (".nwb", ".failed", ".plain.nwb"))
    reason = failed.read_text() if failed.exists() else None
    if not by_pynwb(plain, file):
        return [] if reason and not path.exists() else [f"{file}: pynwb refuses it"]
    if reason is not None:
        return [f"{file}: {reason}"]
    mpio = file.settings["backend"] == "mpio"
    allowed = Allowed(fill_and_allocation_time=mpio, early_allocation=mpio, size_ratio=2.0)
    left = [item.name for item in folder.glob(f"{number}.nwb?*")]
    found = differences(comparable(plain), comparable(path), allowed)
    return [f"{file}: {line}" for line in [*found, *(f"{name} is left" for name in left)]]


def test_what_is_drawn_is_varied_and_always_the_same() -> None:
    everything = drawn(FILES * len(RANKS))
    assert everything == drawn(FILES * len(RANKS))
    assert everything == [DrawnFile.from_json(json.loads(json.dumps(file.to_json()))) for file in everything]
    datasets = [dataset for file in everything for dataset in file.datasets]
    assert {len(dataset.shape) for dataset in datasets} == {1, 2, 3, 4, 5}
    assert any(0 in dataset.shape for dataset in datasets)
    assert any(dataset.iterated for dataset in datasets)
    larger = [d for d in datasets if d.chunks and any(c > n for c, n in zip(d.chunks, d.shape, strict=True))]
    assert len(larger) > 5
    for name in ("gzip", "lzf", None):
        assert any(dataset.filters.get("compression") == name for dataset in datasets)
