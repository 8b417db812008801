"""The group of all commands, and how it is run: errors are told once, whatever the number of ranks."""

from __future__ import annotations

import gc
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import NoReturn

import click

from parnwb.cli.campaign import campaign
from parnwb.cli.command import Commands
from parnwb.cli.convert import convert
from parnwb.cli.defaults import read_defaults
from parnwb.cli.demo import demo
from parnwb.cli.doctor import doctor
from parnwb.cli.jobscript import jobscript
from parnwb.cli.plan import plan
from parnwb.cli.repack import merge, repack, split
from parnwb.cli.speaking import listening, show_warning, speaks
from parnwb.cli.verify import verify
from parnwb.errors import LaunchError, ParnwbError
from parnwb.voice import say

FIRST_WORD_SECONDS = 8
# Imports make a million objects that stay. To look through them for garbage as often as Python does by itself takes a
# tenth of a short command.
GARBAGE_THRESHOLDS = (50_000, 20, 100)

SECTIONS = (
    (
        "Settings, of which the first that is given counts",
        (
            ("--buffer-mb 128", "on the command line"),
            ("PARNWB_CONVERT_BUFFER_MB=128", "in the environment"),
            ("[convert]", "in parnwb.toml: in this folder, ~/.config/parnwb or /etc/xdg/parnwb"),
            ("buffer-mb = 128", ""),
        ),
    ),
    (
        "Exit status",
        (
            ("0", "all is well"),
            ("1", "it failed, and the message says why; verify, doctor: something is wrong"),
            ("2", "the command line or a configuration cannot be understood"),
            ("75", "it was asked to stop, and what was done is kept: run it again with --resume"),
            ("130", "it was interrupted before there was anything to keep"),
        ),
    ),
)


@click.group(
    cls=Commands,
    sections=SECTIONS,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "auto_envvar_prefix": "PARNWB",
    },
)
@click.version_option(package_name="parnwb")
@click.option(
    "--config",
    envvar="PARNWB_CONFIG",
    type=click.Path(path_type=Path),
    help="The only configuration file to read; also as PARNWB_CONFIG.",
)
@click.pass_context
def commands(ctx: click.Context, config: Path | None) -> None:
    """Write Neurodata Without Borders (NWB) files in parallel.

    convert, verify, campaign, repack, merge and split run under MPI: mpiexec -n 4 parnwb convert SOURCE OUT.nwb
    """
    ctx.default_map = read_defaults(commands.commands, config)


# In alphabetical order, as help lists them.
for command in (campaign, convert, demo, doctor, jobscript, merge, plan, repack, split, verify):
    commands.add_command(command)


def main() -> NoReturn:
    """Run the command line; errors are told once, whatever the number of ranks."""
    warnings.showwarning = show_warning
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    with listening():
        _run()


def _run() -> NoReturn:
    try:
        sys.exit(commands.main(standalone_mode=False) or 0)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        if speaks():
            click.echo("parnwb: interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        if speaks():
            error.show()
        else:
            time.sleep(1)  # Open MPI's launcher ends the job with the first that fails: not before the root has spoken
        sys.exit(error.exit_code)
    except ParnwbError as error:
        if speaks():
            from parnwb.comm import describe

            rank = getattr(error, "parnwb_rank", None)
            text = f"{error if rank is None else describe(error, rank)}"
            host = getattr(error, "parnwb_host", None)
            say(logging.ERROR, "job", f"{text}{_next_step(error)}", rank or 0, host, kind=type(error).__name__)
        elif isinstance(error, LaunchError):
            time.sleep(FIRST_WORD_SECONDS)  # the root may still be importing what the others do without
        sys.exit(1)


def _next_step(error: ParnwbError) -> str:
    """Return where to look on, for an error that does not say it."""
    command = next((word for word in sys.argv[1:] if word in commands.commands), "COMMAND")
    return "" if error.remedy else f". See parnwb {command} --help"
