"""``parnwb demo``: a made recording, converted on two ranks and verified on three, or on the ranks that there are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from parnwb.comm import Ranks, world
from parnwb.errors import LaunchError, TargetError
from parnwb.recordings.made_recording import make_spikeglx_recording

Say = Callable[[str], None]
CONVERTING_RANKS = 2
VERIFYING_RANKS = 3
TIMEOUT_SECONDS = 1800


def run(folder: Path, megabytes: int, say: Say) -> int:
    """Make, convert and verify, and say so; return the exit status of the first step that fails, or 0. Independent."""
    mpiexec = find_mpiexec()
    began = time.monotonic()
    recording = prepare(folder, megabytes, say)
    for ranks, arguments in zip((CONVERTING_RANKS, VERIFYING_RANKS), steps(folder, recording), strict=True):
        say(f"\n$ mpiexec -n {ranks} parnwb {' '.join(arguments)}")
        status = _launch(mpiexec, ranks, arguments)
        if status:
            return status
    say(ending(folder, recording, began))
    return 0


def run_within(folder: Path, megabytes: int, command: Callable[[Sequence[str]], int], say: Say) -> int:
    """Do the same on the ranks that a launcher has started already, as ``mpirun -n 2 parnwb demo`` does. Collective.

    Parameters
    ----------
    command
        Runs one of parnwb's commands in this process and returns its exit status, the same on all ranks.
    say
        Prints a text; called on the root.
    """
    began = time.monotonic()
    ranks = Ranks(world())
    try:
        recording = ranks.on_root("making the recording", lambda: prepare(folder, megabytes, say))
        for arguments in steps(folder, recording):
            if ranks.is_root:
                say(f"\n$ mpiexec -n {ranks.size} parnwb {' '.join(arguments)}")
            status = command(arguments)
            if status:
                return status
        if ranks.is_root:
            say(ending(folder, recording, began))
        return 0
    finally:
        ranks.free()


def prepare(folder: Path, megabytes: int, say: Say) -> Path:
    """Make the recording, which is returned, and what else is known of it. Independent."""
    began = time.monotonic()
    say(f"Making a Neuropixels recording of {megabytes} MB in SpikeGLX's format ...")
    clear(folder)
    recording = make_spikeglx_recording(folder / "recording", megabytes=megabytes)
    say(f"  {recording} ({time.monotonic() - began:.1f} s)")
    (folder / "metadata.yaml").write_text(METADATA)
    return recording


def steps(folder: Path, recording: Path) -> tuple[list[str], list[str]]:
    """Return the arguments of parnwb that convert, and those that verify. Independent."""
    output, metadata = str(folder / "demo.nwb"), ["--metadata", str(folder / "metadata.yaml")]
    return (
        ["convert", str(recording), output, *metadata, "--overwrite"],
        ["verify", output, "--against", str(recording), *metadata],
    )


def ending(folder: Path, recording: Path, began: float) -> str:
    """Return the last words of a demo that began at a ``time.monotonic``. Independent."""
    program = Path(sys.executable).parent / "parnwb"
    arguments = f"plan {recording} --metadata {folder / 'metadata.yaml'} --ranks 64"
    seconds = time.monotonic() - began
    return f"\nDone in {seconds:.0f} s. Next, see how 64 ranks would share it:\n  {program} {arguments}"


def clear(folder: Path) -> None:
    """Empty a folder of an earlier demo; refuse any other that holds something. Independent.

    Raises
    ------
    TargetError
        The folder was not made by a demo.
    """
    mark = folder / ".made-by-parnwb-demo"
    if folder.exists() and not folder.is_dir():
        raise TargetError("the demo's folder is a file", where=str(folder), remedy="Choose another with --folder")
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise TargetError(
            "the demo empties its folder, and this one holds files of someone else",
            where=str(folder),
            remedy="Choose another with --folder",
        )
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        mark.touch()
    except OSError as error:
        raise TargetError(
            f"the demo's folder cannot be made: {error.strerror or error}",
            where=str(folder),
            remedy="Choose another with --folder",
        ) from error


METADATA = """\
# In neuroconv's metadata format; merged over what the recording says of itself.
NWBFile:
  session_description: A made Neuropixels recording.
  session_start_time: 2024-03-05T10:15:30+00:00
  lab: parnwb demo
Subject:
  subject_id: made-1
  species: Mus musculus
  sex: U
  age: P90D
"""


def find_mpiexec() -> str:
    """Return the mpiexec beside this Python, or the one on PATH. Independent.

    Raises
    ------
    LaunchError
        There is none.
    """
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise LaunchError("the demo starts ranks with mpiexec, and there is none", remedy="pip install 'parnwb[mpich]'")
    return found


def _launch(mpiexec: str, ranks: int, arguments: list[str]) -> int:
    command = [mpiexec, *mpi_flags(mpiexec), "-n", str(ranks), sys.executable, "-m", "parnwb", *arguments]
    try:
        return subprocess.run(command, timeout=TIMEOUT_SECONDS, env=os.environ, check=False).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(
            f"the demo could not run its ranks to their end: {error}",
            where=mpiexec,
            remedy="Try it by hand: mpiexec -n 2 hostname",
        ) from error


def mpi_flags(mpiexec: str) -> list[str]:
    """Return what Open MPI needs to start more ranks than cores, also as root; MPICH knows no such flags."""
    version = subprocess.run([mpiexec, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    if "Open MPI" not in version and "OpenRTE" not in version:
        return []
    return ["--oversubscribe", *(["--allow-run-as-root"] if os.geteuid() == 0 else [])]
