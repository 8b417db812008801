"""Submitting a script, and following the job until it has ended: its state, and what it writes."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from parnwb.errors import LaunchError

ENDED = frozenset(
    "COMPLETED FAILED TIMEOUT CANCELLED DEADLINE OUT_OF_MEMORY NODE_FAIL BOOT_FAIL PREEMPTED REVOKED".split()
)
"""All states that a job does not leave; one that is preempted and requeued is pending."""

COMMAND_SECONDS = 60
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
LONGEST_SILENCE = 600.0
"""For which SLURM may not answer before nobody waits any more, in seconds."""

PIECE = 1 << 16


def submit(script: Path) -> int:
    """Submit a script from its own folder and return the job's number. Independent.

    Raises
    ------
    LaunchError
        There is no SLURM, or it refuses.
    """
    said = _run("sbatch", "--parsable", str(script.absolute()), cwd=script.absolute().parent)
    number = said.partition(";")[0].strip()
    if not number.isdigit():
        raise LaunchError(f"sbatch did not tell the number of the job: {said!r}")
    return int(number)


def follow(number: int, tell: Callable[[str], None]) -> int:
    """Wait until a job has ended and return its exit status; a job that is requeued goes on. Independent.

    Parameters
    ----------
    tell
        Is told of each change of state, and of what the job writes, as text that may end within a line.

    Raises
    ------
    LaunchError
        SLURM does not know the job, or does not answer for ten minutes.
    """
    state, read, pause = "", 0, SHORTEST_PAUSE
    heard = time.monotonic()
    while True:
        try:
            fields = _job(number)
            heard = time.monotonic()
        except LaunchError:
            if time.monotonic() - heard > LONGEST_SILENCE or not state:
                raise
            time.sleep(pause)
            continue
        words = _in_words(fields)
        if words != state:
            state, pause = words, SHORTEST_PAUSE
            tell(f"job {number}: {words}\n")
        read = _pass_on(Path(fields.get("StdOut", "")), read, tell)
        if fields["JobState"] in ENDED:
            return _status(fields)
        time.sleep(pause)
        pause = min(1.3 * pause, LONGEST_PAUSE)


def _job(number: int) -> Mapping[str, str]:
    said = _run("scontrol", "--oneliner", "show", "job", str(number))
    fields = dict(re.findall(r"(\w+)=(.*?)(?=\s+[\w:/]+=|\s*$)", said))  # values may have blanks, as paths do
    if "JobState" not in fields:
        raise LaunchError(f"scontrol says nothing of job {number}: {said!r}")
    return fields


def _in_words(fields: Mapping[str, str]) -> str:
    where = fields.get("NodeList", "")
    words = fields["JobState"] + (f" on {where}" if where not in ("", "(null)") else "")
    if fields["JobState"] == "PENDING":
        words += f" ({fields.get('Reason', 'None')})"
    return words + (f", requeued {fields['Restarts']} time(s)" if fields.get("Restarts", "0") != "0" else "")


def _pass_on(log: Path, read: int, tell: Callable[[str], None]) -> int:
    """Tell what is new in the log, piece by piece, and return how far it was read."""
    try:
        with log.open("rb") as file:
            file.seek(read)
            while piece := file.read(PIECE):
                read += len(piece)
                tell(piece.decode(errors="replace"))
    except OSError:
        pass  # not there yet, or written on a file system that this host does not see
    return read


def _status(fields: Mapping[str, str]) -> int:
    status, _, signal = fields.get("ExitCode", "1:0").partition(":")
    if fields["JobState"] == "COMPLETED":
        return 0
    return int(status) or (128 + int(signal) if int(signal or 0) else 1)


def _run(*command: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, cwd=cwd, check=False)
    except FileNotFoundError as error:
        raise LaunchError(
            f"there is no {command[0]} here: SLURM is needed", remedy="Call it on a login node of the cluster"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise LaunchError(f"{command[0]} does not answer", remedy="Try it by hand") from error
    if done.returncode:
        raise LaunchError(f"{command[0]} refuses: {(done.stderr or done.stdout).strip()}", remedy="Correct the script")
    return done.stdout
