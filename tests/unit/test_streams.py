"""What a stream holds is counted as it is held."""

from __future__ import annotations

import numpy as np
import pytest

from parnwb.layers import OBJECT_BYTES
from parnwb.layout import DatasetSpec
from parnwb.sources.growing import Stream
from parnwb.streams import OpenStream


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_rows_of_a_shorter_type_count_as_those_that_they_become(dtype: str) -> None:
    stream = OpenStream(0, DatasetSpec("/data", (0,), (None,), "<f8", (1000,)), Stream("f8"))
    stream.keep(0, np.arange(100, dtype=dtype), 100)
    stream.own_last()
    assert stream.held[0][1].nbytes == 800
    assert stream.held_bytes == 800 + OBJECT_BYTES
