"""A dry run plans what a writing does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from hdmf.data_utils import DataChunkIterator
from pynwb import NWBFile, TimeSeries

from parnwb import NWBParallelIO
from parnwb.recordings.dry_run import plan_nwbfile

SETTINGS = {"bulk_threshold": 4096, "buffer_mb": 0.01}


def session() -> NWBFile:
    """Return a file with a contiguous dataset, and one whose rows are counted by nobody before they are there."""
    nwbfile = NWBFile("plan", "plan", datetime(2024, 3, 5, tzinfo=timezone.utc))
    nwbfile.add_acquisition(TimeSeries(name="bare", data=np.ones((3000, 8)), unit="V", rate=1.0))

    def rows() -> Iterator[np.ndarray]:
        yield from np.ones((50, 4), "i2")

    grown = DataChunkIterator(rows(), maxshape=(None, 4), dtype=np.dtype("i2"), buffer_size=10)
    nwbfile.add_acquisition(TimeSeries(name="grown", data=grown, unit="V", rate=1.0))
    return nwbfile


@pytest.mark.parametrize("backend", ["direct", "virtual"])
def test_the_plan_is_that_of_the_writing(tmp_path: Path, backend: str) -> None:
    from parnwb.authoring.bulk_rule import BulkRule

    rule = BulkRule(threshold=SETTINGS["bulk_threshold"])
    dry = plan_nwbfile(session(), 1, backend=backend, rule=rule, buffer_mb=SETTINGS["buffer_mb"])
    with NWBParallelIO(tmp_path / "out.nwb", "w", backend=backend, progress=False, **SETTINGS) as io:
        io.write(session())
        plan = io._written.plan
        assert len(dry.layout) == 2
        assert dry.to_json() == plan.to_json()
        assert dry == plan
