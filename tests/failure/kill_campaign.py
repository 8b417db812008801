"""Jobs that are killed at random moments and resumed on other numbers of ranks: nothing is lost, nothing is wrong.

`python -m tests.failure.kill_campaign -n 500 --seed 1` makes 500 shots and prints what each hit. A shot is SIGKILL,
SIGTERM, SIGINT or SIGUSR1 at one rank, the root included, or SIGTERM at all of them; with `--kills` always SIGKILL. A
file gets one to six shots, each in an attempt of its own, then it is finished in peace. After every shot all that must
hold is looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

import numpy as np  # noqa: E402
from contract.compare import Snapshot  # noqa: E402
from failure.attempt import WRITE  # noqa: E402
from failure.nursery import Nursery  # noqa: E402
from failure.resuming import (  # noqa: E402
    assert_finished,
    assert_goes_on,
    assert_same,
    committed_in,
    comparable,
    journal_of,
    session,
    small_pieces,
    write,
    write_plainly,
)
from mpi_launch import mpi_vendor, run_mpi  # noqa: E402

from parnwb.commits.journal import Committed  # noqa: E402

RANKS = (1, 2, 3, 5)
KILLS = (signal.SIGKILL,)
SIGNALS = (*KILLS * 3, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
# Without pynwb's schema, which takes a quarter of an attempt's time.
OPTIONS: dict[str, Any] = {"scale": 8, "seconds": 0.004, "commit_interval": 0.02, "specs": False}
# From when all ranks write; a whole file takes about 0.3 s more than nothing.
LATEST = 0.35
# An attempt takes two; a machine may be very busy.
HANG_SECONDS = 60
EX_TEMPFAIL = 75


@dataclass(frozen=True)
class Shot:
    """What is to happen to one attempt.

    Parameters
    ----------
    ranks
        On how many ranks it runs.
    number
        The signal; None for an attempt that is left in peace.
    victims
        Ranks that get it.
    seconds
        How long after all ranks have begun to write.
    """

    ranks: int
    number: signal.Signals | None = None
    victims: tuple[int, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        if self.number is None:
            return f"{self.ranks} ranks in peace"
        return f"{self.ranks} ranks, {self.number.name} at {self.victims} after {self.seconds:.3f} s"


def draw(rng: random.Random, left: float, signals: Sequence[signal.Signals]) -> Shot:
    """Draw a shot at an attempt that has a part of the work left."""
    ranks, number = rng.choice(RANKS), rng.choice(signals)
    victims = (rng.randrange(ranks),)
    if number == signal.SIGTERM and rng.random() < 0.5:
        victims = tuple(range(ranks))  # as a batch system does
    return Shot(ranks, number, victims, rng.uniform(0, LATEST * max(left, 0.1)))


@dataclass
class Campaign:
    """All that shots have in common: where, what the file must become, and how ranks are started."""

    folder: Path
    expected: Snapshot
    size: int
    chunks: int
    command: list[str]
    environment: dict[str, str]
    settle: Callable[[], None]
    told: Callable[[str], None] = print
    hits: Counter[str] = field(default_factory=Counter)

    @property
    def output(self) -> Path:
        """The file."""
        return self.folder / "out.nwb"

    def run(self, shots: int, seed: int, signals: Sequence[signal.Signals] = SIGNALS) -> None:
        """Make so many shots.

        Parameters
        ----------
        signals
            What is drawn from.

        Raises
        ------
        AssertionError
            Something does not hold; the folder is left as it is.
        """
        rng = random.Random(seed)
        made = 0
        while made < shots:
            self._clear()
            before: Committed | None = None
            share = 1.0
            for _ in range(rng.randint(1, 6)):
                before = self.shoot(draw(rng, share, signals), before)
                made += 1
                if self.output.exists() or made == shots:
                    break
                share = 1 - len(before.records) / self.chunks if before is not None else 1.0
            if not self.output.exists() or journal_of(self.output).exists():
                self.shoot(Shot(rng.choice(RANKS)), before)
            assert_finished(self.output, self.expected, self.size)

    def shoot(self, shot: Shot, before: Committed | None) -> Committed | None:
        """Make one attempt, check all that must hold after it, and return its last commit."""
        marks = Path(tempfile.mkdtemp(prefix="marks-", dir=self.folder))
        try:
            return self._judged(shot, before, marks, *self._attempt(shot, marks))
        except AssertionError as error:
            raise AssertionError(f"{shot}, in {self.folder}: {error}") from error

    def _attempt(self, shot: Shot, marks: Path) -> tuple[int, str]:
        """Start an attempt, shoot, and return status and standard error when all of it has ended."""
        command = [*self.command, str(self.output), str(marks), json.dumps(OPTIONS)]
        outcome: list[subprocess.CompletedProcess[str] | BaseException] = []

        def launch() -> None:
            try:
                outcome.append(run_mpi(shot.ranks, command, timeout=HANG_SECONDS, env=self.environment))
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=launch)
        thread.start()
        if shot.number is not None:
            self._fire(shot, marks, thread)
        thread.join()
        self.settle()
        done = outcome[0]
        if isinstance(done, BaseException):
            raise AssertionError(f"a hang: {done}") from done
        return done.returncode, done.stderr

    @staticmethod
    def _fire(shot: Shot, marks: Path, thread: threading.Thread) -> None:
        ready = [marks / f"ready-{rank}" for rank in range(shot.ranks)]
        while thread.is_alive() and not all(mark.exists() and mark.read_text().endswith("\n") for mark in ready):
            time.sleep(0.001)
        time.sleep(shot.seconds)
        for victim in shot.victims:
            if thread.is_alive() and ready[victim].exists():
                try:
                    os.kill(int(ready[victim].read_text()), shot.number or 0)
                except ProcessLookupError:
                    pass  # it has ended

    # -- what must hold ----------------------------------------------------------------------------------------

    def _judged(
        self, shot: Shot, before: Committed | None, marks: Path, status: int, said: str
    ) -> Committed | None:
        after = committed_in(self.output)
        self._check_untouched(before, marks)
        finished = self.output.exists()
        if finished:
            assert_same(self.output, self.expected)
        else:
            assert_goes_on(before, after)
            assert status != 0, "success without a file"
        # A rank that has closed its file takes signals as any program does.
        left = any((marks / f"left-{victim}").exists() for victim in shot.victims)
        kind = "finished" if finished else "hit"
        if shot.number is None:
            assert finished and status == 0, f"status {status} in peace: {said[-3000:]}"
        elif shot.number == signal.SIGKILL:
            assert finished or status != EX_TEMPFAIL
        elif status == EX_TEMPFAIL:
            assert not finished, "asked to be resumed with a finished file"
            assert said.count("asked to stop") == 1, f"not one message: {said[-3000:]}"
            assert "Traceback" not in said, said[-3000:]
        else:
            assert left or (finished and status == 0), f"status {status} after {shot.number.name}: {said[-3000:]}"
            kind = "finished" if finished else "late"
        self.hits[f"{shot.number.name if shot.number else 'peace'} {kind}"] += 1
        self.told(f"{shot}: {kind}, status {status}, {0 if after is None else len(after.records)} chunks committed")
        shutil.rmtree(marks)
        return after

    @staticmethod
    def _check_untouched(before: Committed | None, marks: Path) -> None:
        """Check that no rank wrote where an earlier attempt had committed a chunk."""
        if before is None or not len(before.records):
            return
        rows = before.records[np.argsort(before.records[:, 2])]
        starts, stops = rows[:, 2], rows[:, 2] + rows[:, 3]
        for log in marks.glob("writes-*"):
            content = log.read_bytes()
            for address, length in WRITE.iter_unpack(content[: len(content) // WRITE.size * WRITE.size]):
                following = np.searchsorted(stops, address, side="right")
                clear = following == len(rows) or starts[following] >= address + length
                assert clear, f"{log.name}: {length} bytes at {address} went over a committed chunk"

    def _clear(self) -> None:
        for item in self.folder.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()


@contextmanager
def campaign(*, nursery: bool = True, told: Callable[[str], None] = print) -> Iterator[Campaign]:
    """Give a campaign whose ranks come from a nursery, or are started as programs of their own.

    All is in memory where that can be: kills lose no page, and `fsync` would only take time.
    """
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 2**27 else None
    folder = Path(tempfile.mkdtemp(prefix="parnwb-kill-", dir=base))
    reference = folder / "reference"
    reference.mkdir()
    nwbfile = session(OPTIONS["scale"])
    expected = comparable(write_plainly(reference / "plain.nwb", nwbfile, specs=OPTIONS["specs"]))
    whole = write(reference / "whole.nwb", session(OPTIONS["scale"]), "w", specs=OPTIONS["specs"])
    with small_pieces():
        chunks = sum(spec.grid.size for spec in whole.written.plan.layout) if whole.written else 0
    what = (expected, whole.path.stat().st_size, chunks)
    shutil.rmtree(reference)
    if nursery and mpi_vendor() == "mpich":
        with Nursery("failure.attempt") as births:
            yield Campaign(folder, *what, births.rank(), births.environment, births.wait_for_the_end, told)
    else:
        command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("attempt.py"))]
        yield Campaign(folder, *what, command, {}, lambda: None, told)
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=100, help="how many shots (100)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", action="store_true", help="SIGKILL only")
    parser.add_argument("--no-nursery", action="store_true", help="start every rank as a program of its own")
    arguments = parser.parse_args()
    began = time.monotonic()
    with campaign(nursery=not arguments.no_nursery) as shots:
        try:
            shots.run(arguments.n, arguments.seed, KILLS if arguments.kills else SIGNALS)
        finally:
            print(*(f"{kind}: {number}" for kind, number in sorted(shots.hits.items())), sep="\n")
    print(f"{arguments.n} shots in {time.monotonic() - began:.0f} s: all that must hold did")


if __name__ == "__main__":
    main()
