"""Rows that ranks hold get to the ranks that need them, in as many rounds as it takes."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest
from mpi_launch import run_mpi

pytestmark = pytest.mark.mpi_skip

PROGRAM = """
    import numpy as np
    from mpi4py import MPI
    from parnwb.comm import Ranks, exchange
    from parnwb.hyperslab import Hyperslab
    from parnwb.streaming.rows import HeldRows, exchanged

    ranks = Ranks(MPI.COMM_WORLD)
    assert ranks.gather_agreed("numbers", lambda: ranks.rank ** 2) == [n * n for n in range(ranks.size)]
    whole = np.arange(40 * 6, dtype=">i4").reshape(40, 6)
    for exchange.ROUND_BYTES in (1, 64, 10**6):
        dice = np.random.default_rng(0)
        cuts = np.sort(dice.integers(0, 41, 12))
        pieces = [
            (Hyperslab((int(low), 0), (int(high - low), 6)), whole[low:high])
            for n, (low, high) in enumerate(zip([0, *cuts], [*cuts, 40]))
            if n % ranks.size == ranks.rank and high > low
        ]
        boxes = lambda rank: [Hyperslab((10 * rank, 2), (10, 3)), Hyperslab((0, 5), (rank, 1))]
        found = exchanged(ranks, HeldRows(whole.shape, whole.dtype, pieces, 0), boxes, 0)
        for box in boxes(ranks.rank):
            if box.size:
                assert np.array_equal(found.read(box), whole[box.slices]), box
                assert sum(part.size for part, _ in found.pieces(box)) == box.size
    # What is too much for one call goes in pieces, and arrives as it would have in one.
    counts = np.array([(ranks.rank + 1) * to for to in range(ranks.size)])
    data = np.concatenate([np.full(count, 100 * ranks.rank + to, ">f4") for to, count in enumerate(counts)])
    for exchange.MOST_BYTES, exchange.ROUND_BYTES in ((2**31, 10**6), (1, 8)):
        received, coming = ranks.exchange(data, counts)
        assert received.dtype == data.dtype
        assert coming.tolist() == [(rank + 1) * ranks.rank for rank in range(ranks.size)]
        assert received.tolist() == [100.0 * rank + ranks.rank for rank, n in enumerate(coming) for _ in range(n)]
    ranks.free()
"""


@pytest.mark.parametrize("ranks", [1, 3, 4])
def test_rows_get_to_those_who_need_them(ranks: int, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    done = run_mpi(ranks, [sys.executable, program], timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]
