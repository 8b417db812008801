"""The collective calls that make a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from parnwb.comm import DEFAULT_WATCHDOG, Ranks
from parnwb.errors import ParnwbError, TargetError
from parnwb.report.environment import environment
from parnwb.report.page import Report, half_of, verified_page, written_page
from parnwb.report.record import gather
from parnwb.report.stored import contents
from parnwb.target.taking import check_takes

if TYPE_CHECKING:
    from mpi4py import MPI

    from parnwb.io import NWBParallelIO
    from parnwb.verification import Verdict
    from parnwb.writer import Written


def make_report(
    io: NWBParallelIO, comm: MPI.Intracomm | None = None, *, verdict: Verdict | None = None
) -> Report | None:
    """Return a page about the file that was written, on the root; None elsewhere. Collective.

    Parameters
    ----------
    io
        What has written it; closed.
    comm
        The communicator that it was given.
    verdict
        What ``verify`` has found, if it was asked; from the root.

    Raises
    ------
    ParnwbError
        Nothing was written. The same on all ranks.
    """
    ranks = Ranks(comm, DEFAULT_WATCHDOG, "call make_report")
    try:
        with ranks.agreed("make_report"):
            if io.written is None or not io.closed:
                raise ParnwbError(
                    "a report is made of a file that is complete",
                    where=str(io.path),
                    remedy="Call make_report after the with block, if it has written something",
                )
        assert io.written is not None
        return report_of(ranks, io.path, io.written, verdict)
    finally:
        ranks.free()


def check_place(path: Path) -> None:
    """Refuse a name under which nothing can be left, before hours of work end with that. Independent.

    Raises
    ------
    TargetError
        Says why.
    """
    if path.suffix not in (".html", ".htm"):  # lest somebody give the name of a recording
        raise TargetError("the name of a report ends in .html", where=str(path), remedy="Choose such a name")
    if not path.absolute().parent.is_dir():
        raise TargetError("the folder for the report must exist", where=str(path.absolute().parent), remedy="Make it")
    if path.is_dir():
        raise TargetError("a report is a file, this is a folder", where=str(path), remedy="Choose another name")
    check_takes(
        half_of(path.absolute()),
        "the report cannot be written",
        path,
        "Choose a folder that may be written to, or a shorter name",
    )


def report_of(ranks: Ranks, path: Path, written: Written, verdict: Verdict | None) -> Report | None:
    """Return a page about a complete file on the root; None elsewhere. Collective."""
    record = gather(ranks, path, written)
    return written_page(record, verdict) if record is not None else None


def verification_report(verdict: Verdict, comm: MPI.Intracomm | None = None) -> Report | None:
    """Return a page about a file that was verified, on the root; None elsewhere. Collective."""
    ranks = Ranks(comm, DEFAULT_WATCHDOG, "call verification_report")
    report: Report | None = None
    try:
        with ranks.agreed("describing the file"):
            if ranks.is_root:
                try:
                    held = contents(verdict.path, ranks.look_up)
                except (OSError, RuntimeError, KeyError, ValueError):
                    if verdict.ok:
                        raise
                    held = None  # the findings say what is wrong with it
                report = verified_page(verdict, held, environment(ranks, verdict.path.parent, "Verified"))
        return report
    finally:
        ranks.free()
