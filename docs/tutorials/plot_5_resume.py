"""
Resume after a kill
===================

A job is killed in the middle, in the rudest way there is, and another one, on another number of ranks, goes on where it
was. This program is no MPI program: it starts some, as a shell would.
"""

# %%
# A recording, and a way to start ranks
# -------------------------------------

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt

from parnwb.recordings.demo import METADATA, find_mpiexec, mpi_flags
from parnwb.recordings.made_recording import make_spikeglx_recording

recording = make_spikeglx_recording(Path("recording"), megabytes=150)
Path("session.yaml").write_text(METADATA)
mpiexec = find_mpiexec()
output = Path("session.nwb")


def command(ranks, *arguments):
    """Return: mpiexec -n RANKS parnwb ARGUMENTS."""
    print("$ mpiexec -n", ranks, "parnwb", *arguments, flush=True)
    parnwb = [sys.executable, "-m", "parnwb", *map(str, arguments)]
    return [mpiexec, *mpi_flags(mpiexec), "-n", str(ranks), *parnwb]


def size(name):
    return Path(name).stat().st_size if Path(name).exists() else 0


def wait_for(name, nbytes, job):
    """Wait until a file is so large, or the job has ended; a minute at most."""
    deadline = time.monotonic() + 60
    while size(name) < nbytes and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def ranks_here():
    """Return the processes of parnwb in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            is_rank = b"parnwb" in command and b"-n" not in command
            if is_rank and (process / "cwd").readlink() == Path.cwd():
                found.append(int(process.name))
        except OSError:
            pass  # ended meanwhile, or another user's
    return found


def show_folder():
    for path in sorted(Path().glob("session.nwb*")):
        print(f"  {path.name:28} {path.stat().st_size / 1e6:8.2f} MB")


# %%
# Killed
# ------
#
# What has been written is committed every five minutes; here, for a small recording, ten times a second. Small
# buffers and chunks, and a slow compression, make the job last long enough to be killed. As soon as some MB are there
# and another commit is in the journal, all ranks get SIGKILL, against which no program can do anything.

convert = ("convert", recording, output, "--metadata", "session.yaml", "--commit-interval", "0.1")
convert += ("--buffer-mb", "1", "--chunks", "auto", "--compression", "9", "--quiet")
job = subprocess.Popen(command(2, *convert), start_new_session=True)
wait_for("session.nwb.partial", 5e6, job)
wait_for("session.nwb.partial.journal", size("session.nwb.partial.journal") + 1, job)
time.sleep(0.1)  # until all of the commit is in the journal
for rank in ranks_here():
    os.kill(rank, signal.SIGKILL)
print("exit status of the killed job is", "0" if job.wait(60) == 0 else "not 0")
show_folder()

# %%
# There is no ``session.nwb``: the final name appears only when a file is complete. There is a partial file; beside it
# the journal, which says what of it can be trusted; and the lock, which says whose it is.
#
# Resumed
# -------
#
# The same command with ``--resume``, on three ranks instead of two. It checks what was committed, and writes what is
# missing.

resume = command(3, *convert[:-1], "--resume")
done = subprocess.run(resume, stdout=subprocess.PIPE, text=True, timeout=90, check=True)
print(done.stdout)
show_folder()

# %%
# What was committed has not been encoded or written again.

patterns = (r"([\d.]+) MB", r"\(([\d.]+) MB were")
whole, earlier = (float(re.search(pattern, done.stdout)[1]) for pattern in patterns)
plt.figure(figsize=(7, 1.2))
plt.barh([0], [earlier], color="tab:gray", label="committed by the killed job")
plt.barh([0], [whole - earlier], left=[earlier], color="tab:green", label="written by the next")
plt.yticks([])
plt.xlabel("MB of the recording")
plt.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)

# %%
# As if nothing had happened
# --------------------------
#
# Bit for bit what is in the recording, every chunk there, valid as NWB.

verify = command(2, "verify", output, "--against", recording, "--metadata", "session.yaml", "--quiet")
done = subprocess.run(verify, stdout=subprocess.PIPE, text=True, timeout=90, check=True)
print(done.stdout)

# %%
# From Python it is mode ``'resume'`` and the same ``write(nwbfile)``. On a cluster, SLURM's signal before the time
# limit makes a job commit and end with status 75, which job scripts take for *run me again*: :doc:`/clusters`. What
# is promised, fault by fault: :doc:`/reliability`.
