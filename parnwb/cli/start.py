"""The group of all commands, and how it is run: errors are told once, whatever the number of ranks."""

from __future__ import annotations

import sys
import time
import warnings
from typing import NoReturn

import click

from parnwb.cli.campaign import campaign
from parnwb.cli.convert import convert
from parnwb.cli.demo import demo
from parnwb.cli.doctor import doctor
from parnwb.cli.jobscript import jobscript
from parnwb.cli.plan import plan
from parnwb.cli.repack import merge, repack, split
from parnwb.cli.speaking import show_warning, speaks
from parnwb.cli.verify import verify
from parnwb.errors import LaunchError, ParnwbError

FIRST_WORD_SECONDS = 8


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="parnwb")
def commands() -> None:
    """Write Neurodata Without Borders (NWB) files in parallel.

    convert, verify, repack, merge and split run under MPI: mpiexec -n 4 parnwb convert SOURCE OUT.nwb
    """


# In alphabetical order, as help lists them.
for command in (campaign, convert, demo, doctor, jobscript, merge, plan, repack, split, verify):
    commands.add_command(command)


def main() -> NoReturn:
    """Run the command line; errors are told once, whatever the number of ranks."""
    warnings.showwarning = show_warning
    try:
        sys.exit(commands.main(standalone_mode=False) or 0)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
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
            print(f"parnwb: {error if rank is None else describe(error, rank)}", file=sys.stderr, flush=True)
        elif isinstance(error, LaunchError):
            time.sleep(FIRST_WORD_SECONDS)  # the root may still be importing what the others do without
        sys.exit(1)
