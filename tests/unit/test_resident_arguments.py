"""Where data of ranks are: whole numbers, or one message."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from parnwb import Distributed, Owned
from parnwb.errors import ParnwbError

BLOCK = np.zeros((2, 3))


@pytest.mark.parametrize("start", [(0.9, 0), ("0", 0), (0,), (0, 0, 0), (-1, 0), None, (True, False)])
def test_a_start_is_one_whole_number_for_each_axis(start: Any) -> None:
    """Cut to whole numbers, a fraction would be data in another place."""
    with pytest.raises(ParnwbError, match="start must have one whole number from 0 on for each axis"):
        Owned(BLOCK, start, comm=None)


@pytest.mark.parametrize("axis", ["x", 1.0, 2, -3, None, True])
def test_an_axis_is_one_of_the_data(axis: Any) -> None:
    with pytest.raises(ParnwbError, match="axis must be within the 2 axes of the data"):
        Distributed(BLOCK, axis=axis, comm=None)


def test_numbers_of_numpy_are_numbers() -> None:
    assert Owned(BLOCK, np.zeros(2, "u1"), comm=None).shape == (2, 3)
    assert Distributed(BLOCK, axis=np.int64(-1), comm=None).shape == (2, 3)
