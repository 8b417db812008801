"""Jobs that are killed at random moments: a short campaign with fixed seeds, and signals that come at bad moments."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from failure.kill_campaign import KILLS, Campaign, Shot, campaign
from failure.resuming import comparable
from mpi_launch import mpi_vendor, run_mpi

pytestmark = [pytest.mark.mpi_skip, pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

# Ranks start in milliseconds with MPICH only; elsewhere a campaign of the same length would take some minutes.
IS_QUICK = mpi_vendor() == "mpich"
KILLS_OF_A_SEED = 13 if IS_QUICK else 2
SHOTS = 14 if IS_QUICK else 4
SEEDS = (1, 2, 3, 4)
# How many kills the whole suite makes, whatever else.
PROMISED = 50


@pytest.fixture(scope="module")
def shots() -> Iterator[Campaign]:
    with campaign() as made:
        yield made


def fired(shots: Campaign, name: str = "") -> int:
    """Return how many shots were made with a signal, or with any."""
    return sum(number for kind, number in shots.hits.items() if name in kind and "peace" not in kind)


def hit(shots: Campaign) -> int:
    """Return how many ended an attempt."""
    return sum(number for kind, number in shots.hits.items() if kind.endswith(" hit"))


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_and_resumed(shots, seed):
    """SIGKILL at one rank, whichever, whenever."""
    shots.hits.clear()
    shots.run(KILLS_OF_A_SEED, seed, KILLS)
    assert fired(shots, "SIGKILL") == fired(shots) == KILLS_OF_A_SEED
    assert hit(shots) > KILLS_OF_A_SEED / 2, "too many shots came too late to mean anything"


def test_there_are_as_many_kills_as_promised():
    assert len(SEEDS) * KILLS_OF_A_SEED >= PROMISED or not IS_QUICK


def test_signalled_and_resumed(shots):
    """Of all kinds, in turn at one file."""
    shots.hits.clear()
    shots.run(SHOTS, 5)
    assert fired(shots) == SHOTS
    assert hit(shots) > SHOTS / 2, "too many shots came too late to mean anything"


def test_killed_and_resumed_as_users_start_it():
    """Every rank is a program of its own, which ends as Python ends."""
    with campaign(nursery=False) as made:
        made.run(4, seed=6)


def test_nobody_is_shot(shots):
    """The program itself, on each number of ranks: or the campaign would prove less than it seems."""
    for ranks in (1, 2, 3, 5):
        shots.output.unlink(missing_ok=True)
        shots.shoot(Shot(ranks), None)
        assert comparable(shots.output).keys() == shots.expected.keys()


LATE = """
    import os, signal, sys, time, warnings
    sys.path.insert(0, sys.argv[2])
    warnings.simplefilter("ignore")
    from mpi4py import MPI
    from pathlib import Path
    from failure.resuming import session, write
    from parnwb.backends.addresses import ASK
    from parnwb.backends.asking import AskedAddresses
    from parnwb.backends.requests import unpacked

    tell = AskedAddresses._tell

    def told(self, rank, kind, numbers=None):
        tell(self, rank, kind, numbers)
        if kind == ASK and unpacked(numbers)[1] and "first" in str(path):
            time.sleep(0.5)  # the root lets all go
            os.kill(os.getpid(), signal.SIGUSR1)
            self.serve()

    AskedAddresses._tell = told
    for name in ("first", "second", "third"):
        path = Path(sys.argv[1]) / f"{name}.nwb"
        write(path, session(1), "w", comm=MPI.COMM_WORLD)
"""


def test_a_signal_too_late_for_its_file_does_not_stop_the_next_one(tmp_path):
    """The rank passes it on when the root listens no more; the message must not be found by the next file's root."""
    program = tmp_path / "late.py"
    program.write_text(textwrap.dedent(LATE))
    done = run_mpi(2, [sys.executable, program, tmp_path, str(Path(__file__).parents[1])], timeout=60)
    assert done.returncode == 0, done.stderr
    assert "asked to stop" not in done.stderr
    names = {path.name for path in tmp_path.iterdir() if "nwb" in path.name}
    assert names == {"first.nwb", "second.nwb", "third.nwb"}
