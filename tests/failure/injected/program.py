"""Let calls fail while a file is written, one case after the other; rank 0 prints one line of JSON for each.

Arguments: a folder, and a file with the cases as JSON. The library of ``failing.c`` must be preloaded. Runs on the
ranks that there are.
"""

from __future__ import annotations

import json
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from contract.compare import Snapshot
from failure.injected.injection import NOTHING, Injection, arm, calls_hit, calls_seen
from failure.resuming import (
    Stop,
    assert_finished,
    assert_goes_on,
    assert_same,
    commits_every,
    committed_in,
    comparable,
    journal_of,
    partial_of,
    session,
    stopped_at,
    write,
    write_plainly,
)

from parnwb.commits.journal import CLOSING, Frame, Journal
from parnwb.errors import ParnwbError

SCALE = 2
EVERY = 4  # batches between commits
OUT = "out.nwb"
PLACE = "place"
FRESH, RESUMED = "fresh", "resumed"


@dataclass(frozen=True)
class Case:
    """One attempt at a file with an injection on one rank.

    Parameters
    ----------
    stage
        ``FRESH``, or ``RESUMED`` after an attempt that was ended with two commits.
    injection
        What fails.
    rank
        Where; -1 is the last rank.
    fails
        Whether the attempt must fail, if the injection hits; None where it may.
    """

    stage: str
    injection: Injection
    rank: int = 0
    fails: bool | None = True

    def __str__(self) -> str:
        return f"{self.stage}-{self.injection}" + (f"-rank{self.rank}" if self.rank else "")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Case:
        return cls(**{**values, "injection": Injection(**values["injection"])})


class Stages:
    """Folders to begin from, and what every file must become. On the root."""

    def __init__(self, folder: Path, alone: Any) -> None:
        plain = write_plainly(folder / "plain.nwb", session(SCALE), specs=False)
        self.expected: Snapshot = comparable(plain)
        whole = folder / "whole.nwb"
        write(whole, session(SCALE), "w", specs=False, comm=alone)
        self.size = whole.stat().st_size
        self._half = folder / "half"
        self._half.mkdir()
        try:
            with stopped_at(9), commits_every(EVERY):
                write(self._half / OUT, session(SCALE), specs=False, comm=alone, commit_interval=1)
        except Stop:
            pass

    def lay_out(self, stage: str, folder: Path) -> None:
        if stage == RESUMED:
            shutil.copytree(self._half, folder)
        else:
            folder.mkdir()


def attempt(path: Path, comm: Any) -> None:
    with commits_every(EVERY):
        write(path, session(SCALE), specs=False, comm=comm, commit_interval=1)


def counting_frames(made: list[Frame]) -> None:
    """Note every frame that a journal has taken and made safe."""
    append = Journal.append

    def counted(self: Journal, frame: Frame) -> None:
        append(self, frame)
        made.append(frame)

    Journal.append = counted  # type: ignore[method-assign]


def outcome(function: Callable[[], None]) -> tuple[str | None, str]:
    """Return kind and text of what a function raises."""
    try:
        function()
    except ParnwbError as error:
        return type(error).__name__, str(error)
    except BaseException as error:
        return "".join(traceback.format_exception(error)[-4:]), str(error)
    return None, ""


def run(case: Case, stages: Stages | None, folder: Path, comm: Any, made: list[Frame]) -> dict[str, Any] | None:
    """Run one case on all ranks; on the root, return what must be known of it."""
    path, before, hurt = folder / OUT, None, comm.rank == case.rank % comm.size
    if stages is not None:
        stages.lay_out(case.stage, folder)
        before = committed_in(path)
    comm.Barrier()
    made.clear()
    if hurt:
        arm(case.injection)
    found = outcome(lambda: attempt(path, comm))
    counts = (calls_seen(), calls_hit()) if hurt else (0, 0)
    arm(NOTHING)
    together = comm.gather((found, counts))
    result: dict[str, Any] | None = None
    if stages is not None:
        seen, hits = (sum(column) for column in zip(*(counts for _, counts in together), strict=True))
        outcomes = [one for one, _ in together]
        problem = outcome(lambda: judge(case, stages, path, before, outcomes, (seen, hits), made))[1]
        result = {"case": str(case), "outcomes": outcomes, "seen": seen, "hits": hits, "problem": problem}
    again = outcome(lambda: attempt(path, comm) if not finished(path, comm) else None)
    if stages is not None and result is not None:
        settled = again[1] or outcome(lambda: assert_finished(path, stages.expected, stages.size))[1]
        result["problem"] = result["problem"] or (settled and f"going on: {settled}")
    return result


def finished(path: Path, comm: Any) -> bool:
    """Tell on all ranks whether the file is there and nothing beside it."""
    here = path.exists() and not journal_of(path).exists()
    return bool(comm.bcast(here))


def judge(
    case: Case,
    stages: Stages,
    path: Path,
    before: Any,
    outcomes: list[tuple[str | None, str]],
    counts: tuple[int, int],
    made: list[Frame],
) -> None:
    """Check all that must hold right after the attempt."""
    seen, hits = counts
    kinds, texts = {kind for kind, _ in outcomes}, {text for _, text in outcomes}
    assert len(texts) == 1, f"ranks say different things: {texts}"
    (kind,), (text,) = kinds, texts
    if kind is None:
        assert not (hits and case.fails), "no error"
        assert_same(path, stages.expected)
        return
    assert case.fails is not False, f"an error that should have been overcome: {text}"
    assert hits, f"an error without a cause: {kind}: {text}"
    assert kind in ("StorageError", "TargetError"), f"not an error of parnwb's own: {kind}"
    assert case.injection.reason in text, f"{case.injection.reason} is not said: {text}"
    assert str(path.parent) in text, f"the place is not said: {text}"
    if case.injection.kind == "sync":
        assert hits == 1 and seen == case.injection.first, "a failed fsync was tried again"
    if path.exists():
        assert_same(path, stages.expected)
    after = committed_in(path)
    assert_goes_on(before, after)
    due = [frame for frame in made if len(frame.records) and frame.description != CLOSING]
    if due or before is not None:
        assert journal_of(path).exists(), "the journal is gone"
        assert partial_of(path).exists() or path.exists(), "the partial file is gone"
        sequence = (before.sequence if before is not None else 0) + len(made)
        assert after is not None and after.sequence == sequence, f"{after and after.sequence} commits, not {sequence}"


def main() -> None:
    warnings.simplefilter("ignore")
    folder, cases = Path(sys.argv[1]), [Case.from_json(values) for values in json.loads(Path(sys.argv[2]).read_text())]
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    root = comm.rank == 0
    stages = Stages(folder, MPI.COMM_SELF) if root else None
    made: list[Frame] = []
    counting_frames(made)
    for case in cases:
        place = folder / PLACE
        result = run(case, stages, place, comm, made)
        if root:
            shutil.rmtree(place)
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
