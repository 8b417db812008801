"""What a stream holds is counted as it is held."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from pynwb import NWBFile, TimeSeries

from parnwb import NWBParallelIO
from parnwb.errors import LayoutError
from parnwb.layout import DatasetSpec
from parnwb.sources.growing import Stream
from parnwb.streaming.layers import OBJECT_BYTES
from parnwb.streaming.streams import OpenStream


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_rows_of_a_shorter_type_count_as_those_that_they_become(dtype: str) -> None:
    stream = OpenStream(0, DatasetSpec("/data", (0,), (None,), "<f8", (1000,)), Stream("f8"))
    stream.keep(0, np.arange(100, dtype=dtype), 100)
    stream.own_last()
    assert stream.held[0][1].nbytes == 800
    assert stream.held_bytes == 800 + OBJECT_BYTES


def test_a_stream_is_the_data_of_one_dataset(tmp_path: Path) -> None:
    stream = Stream("i2")
    file = NWBFile("a session", "streaming", datetime(2026, 1, 1, tzinfo=timezone.utc))
    for name in "xy":
        file.add_acquisition(TimeSeries(name=name, data=stream, unit="V", rate=1.0))
    with (
        pytest.raises(LayoutError, match="one dataset, this one is also that of /acquisition/x/data"),
        NWBParallelIO(tmp_path / "out.nwb") as io,
    ):
        io.write(file)
    assert not list(tmp_path.iterdir())
