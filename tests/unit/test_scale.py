"""Plans, and addresses, for more ranks than any test can start: each rank's part of them costs its own share alone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from parnwb.allocator import Allocator
from parnwb.authoring.skeleton import open_on
from parnwb.layout import DatasetSpec, FileLayout, FilterSpec
from parnwb.overlay import Overlay
from parnwb.planning.plan import WritePlan
from parnwb.sources.raw_chunks import read_spec

pytestmark = pytest.mark.mpi_skip
RANKS = 100_000
DEFLATE = (FilterSpec(1, (4,), "deflate"),)
SECONDS, BYTES = 1.0, 50e6

# In a process of its own, whose memory is that of one rank and of nothing that ran before.
RANK = """
import json, resource, sys, time
from parnwb.layout import FileLayout
from parnwb.planning.plan import WritePlan

def anonymous():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("RssAnon"))

layout = FileLayout.from_json(json.loads(sys.argv[1]))
before, began = anonymous(), time.process_time()
plan = WritePlan(layout, int(sys.argv[2]), sys.argv[4])
rank = int(sys.argv[3])
chunks = [index for buffer in plan.buffers(rank) for index, _ in plan.chunks(buffer)]
facts = plan.nbytes(rank), plan.least_memory(rank), plan.memory(), plan.remaining_bytes
print(json.dumps([len(chunks), time.process_time() - began, anonymous() - before]))
"""


def a_million_chunks(access: str) -> FileLayout:
    return FileLayout(
        (DatasetSpec("/d", (160_000 * 1000, 400), (None, 400), "<i2", (1000, 64), DEFLATE, access=access),)
    )


@pytest.mark.parametrize("decomposition", ["balanced", "slab", "block"])
@pytest.mark.parametrize("access", ["random", "gridded"])
def test_a_rank_plans_its_own_share_alone(access: str, decomposition: str) -> None:
    import json

    layout = a_million_chunks(access)
    assert layout.datasets[0].grid.size > 1_000_000
    command = [sys.executable, "-c", RANK, json.dumps(layout.to_json()), str(RANKS), str(RANKS // 2), decomposition]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    chunks, seconds, nbytes = json.loads(done.stdout)
    assert chunks < 100
    assert seconds < SECONDS and nbytes < BYTES


def test_the_shares_of_a_hundred_thousand_ranks_are_all_there_is() -> None:
    plan = WritePlan(a_million_chunks("random"), RANKS)
    some = [plan.count_chunks(rank, 0) for rank in range(0, RANKS, 997)]
    assert set(some) <= {11, 12} and plan.layout.datasets[0].grid.size // RANKS == 11


def test_ten_terabytes_are_planned_in_seconds(tmp_path: Path) -> None:
    from datetime import datetime, timezone

    from pynwb import NWBFile, TimeSeries

    from parnwb.model import Site, Work, predict
    from parnwb.recordings.dry_run import plan_nwbfile

    rows = 10**13 // 768
    path = tmp_path / "ten_terabytes.bin"
    with path.open("wb") as file:
        file.truncate(rows * 768)  # with nothing in it
    values = np.memmap(path, dtype="<i2", mode="r", shape=(rows, 384))
    file = NWBFile("large", "large", datetime(2026, 1, 2, tzinfo=timezone.utc))
    file.add_acquisition(TimeSeries(name="raw", data=values, unit="V", rate=30000.0))
    began = time.process_time()
    plan = plan_nwbfile(file, RANKS, compression="auto", chunks="auto")
    prediction = predict(Work.of(plan), Site())
    assert plan.layout.nbytes == rows * 768 and plan.layout.datasets[0].grid.size < 1_000_000
    assert plan.balance() < 1.5 and prediction.limit == "file system"
    assert time.process_time() - began < 20


def test_interleaved_requests_of_ten_thousand_ranks(tmp_path: Path) -> None:
    ranks, chunks, at_once, together = 10_000, 40_000, 2, 100
    overlay = Overlay()
    file = open_on(overlay, tmp_path / "x.nwb")
    file.create_dataset("d", shape=(chunks * 10, 64), chunks=(10, 64), dtype="<i2", compression="gzip")
    allocator = Allocator(file, overlay, FileLayout((read_spec(file["d"]),)))
    share, sizes = chunks // ranks, np.random.default_rng(0).integers(500, 1500, chunks)
    spans = []
    began = time.process_time()
    for step in range(0, share, at_once):
        for node in range(0, ranks, together):
            own = np.arange(node, node + together)[:, None] * share + np.arange(step, step + at_once)
            positions = own.reshape(-1)
            rows = np.stack([0 * positions, positions, sizes[positions], 0 * positions, positions], axis=1)
            spans.append(np.stack([allocator.place_all(rows), sizes[positions]], axis=1))
    seconds = time.process_time() - began
    found = np.concatenate(spans)
    found = found[np.argsort(found[:, 0])]
    assert len(found) == chunks and (found[1:, 0] >= found[:-1].sum(axis=1)).all()
    # Far below what an idle core does: the benchmark measures that.
    assert chunks / seconds > 8_000
