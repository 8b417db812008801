"""What follows a conversion: its summary, the verification and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from parnwb.cli.showing import say
from parnwb.cli.verdict import show_verdict
from parnwb.progress import MB

if TYPE_CHECKING:
    from mpi4py import MPI

    from parnwb.progress import View
    from parnwb.recordings.conversion import Converted, SourceData
    from parnwb.verification import Verdict


@dataclass(frozen=True)
class Afterwards:
    """What is to be done with finished files.

    Parameters
    ----------
    report
        Where a page goes; None for none.
    verify
        Whether to read files back; None where there is a report.
    against
        What they are compared with.
    watchdog
        For verifying.
    quiet
        Whether to say nothing of what is good.
    """

    report: Path | None
    verify: bool | None
    against: SourceData | None
    watchdog: float
    quiet: bool

    def look(self) -> None:
        """Refuse what cannot be done in the end. Independent."""
        from parnwb.report import check_place

        if self.report is not None:
            check_place(self.report)

    def check(self, comm: MPI.Intracomm) -> None:
        """Have the root look, before all the work. Collective."""
        from parnwb.recordings import conversion

        if self.report is not None:
            conversion.check_opens("looking where the report goes", self.look, comm)

    def do(self, made: Sequence[Converted], comm: MPI.Intracomm, view: View) -> bool:
        """Do it for each file; tell whether all are good. Collective."""
        from parnwb.recordings import conversion

        good, speaks = True, comm.Get_rank() == 0
        for result in made:
            if speaks and not self.quiet:
                _show_converted(result, comm.Get_size())
            verdict = self._verdict(result, comm, view)
            good = good and (verdict is None or verdict.ok)
            if verdict is not None and speaks and not (self.quiet and verdict.ok):
                show_verdict(verdict)
            if self.report is not None:
                place = self.report if len(made) == 1 else _beside(self.report, result.path)
                conversion.save_report(place, result, comm, verdict)
                if speaks and not self.quiet:
                    click.echo(f"  report: {place}")
        return good

    def _verdict(self, result: Converted, comm: MPI.Intracomm, view: View) -> Verdict | None:
        from parnwb.recordings import conversion

        if not (self.verify or (self.verify is None and self.report is not None)):
            return None
        return conversion.check(result.path, comm, against=self.against, progress=view, watchdog=self.watchdog)


def _beside(report: Path, output: Path) -> Path:
    """Return the name of the report about one of several files."""
    return report.with_name(f"{report.stem}-{output.stem}{report.suffix}")


def _show_converted(result: Converted, ranks: int) -> None:
    earlier = result.raw_bytes - result.written_bytes
    resumed = f" ({earlier / MB:.1f} MB were there from an earlier job)" if earlier else ""
    click.echo(f"{result.path}")
    say(
        f"{result.raw_bytes / MB:.1f} MB{resumed} in {result.file_bytes / MB:.1f} MB (ratio {result.ratio:.2f}), "
        f"{result.seconds:.1f} s, {result.written_bytes / MB / result.seconds:.0f} MB/s on {ranks} rank(s)",
        indent=2,
    )
    say(f"backend {result.backend}: {result.reason}", indent=2)
