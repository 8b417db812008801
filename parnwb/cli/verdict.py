"""How verdicts are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from parnwb.progress import MB

if TYPE_CHECKING:
    from parnwb.verification import Verdict


def show_verdict(verdict: Verdict) -> None:
    """Print what was found, and in the last line whether the file is good."""
    for finding in verdict.findings:
        click.echo(f"  wrong: {finding}")
    for finding in verdict.advice:
        click.echo(f"  advice: {finding}")
    if not verdict.ok:
        click.echo("  next: write it again; parnwb verify --report NAME.html shows all of this as a page")
    compared = f"{len(verdict.compared)} compared with the source" if verdict.compared else "no source to compare with"
    stored = f"{verdict.checksums} checksums compared, " if verdict.checksums else ""
    click.echo(
        f"{'GOOD' if verdict.ok else 'BAD'}: {verdict.path}: {verdict.datasets} numeric datasets "
        f"({verdict.nbytes / MB:.1f} MB) read back, {stored}{compared}, {verdict.seconds:.1f} s"
    )
