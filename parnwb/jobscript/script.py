"""The text of a script."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from parnwb.jobscript.site_file import SiteFile
from parnwb.jobscript.size import JobSize

TEMPLATE = """\
#!/usr/bin/env bash
{sbatch}

# Made by parnwb jobscript: {summary}.
set -euo pipefail
source {site}
recording={recording}
output={output}
reading=({reading})

if [[ ! -e $output || -e $output.partial.journal ]]; then
    stripe "$(dirname "$output")" {stripes}
    # In the background, because bash runs a trap only when the command that it waits for has ended.
    launch parnwb convert "$recording" "$output" --resume ${{break_lock:+--break-lock}} {converting}"${{reading[@]}}" &
    ranks=$!
    trap 'stopping=yes; kill -USR1 $ranks 2> /dev/null || true' USR1  # before the time is over, by --signal
    status=0 stopping=
    while kill -0 $ranks 2> /dev/null; do
        wait $ranks && status=0 || status=$?
    done
    # 75: all is committed, run me again. srun may say otherwise of ranks that were not as quick as others.
    if ((status == 75)) || [[ $status != 0 && $stopping && -e $output.partial.journal ]]; then
        scontrol requeue "$SLURM_JOB_ID"
        exit 75
    fi
    ((status == 0)) || exit $status
fi
launch parnwb verify "$output" --against "$recording" "${{reading[@]}}"
"""


def render(
    site: SiteFile,
    size: JobSize,
    recording: Path,
    output: Path,
    *,
    reading: Sequence[str] = (),
    converting: Sequence[str] = (),
) -> str:
    """Return the text of a script that converts, requeues itself before its time is over, and verifies. Independent.

    Parameters
    ----------
    reading
        Options of convert and verify that say how the recording is read.
    converting
        Options of convert alone.
    """
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in output.stem)
    hours, minutes = divmod(size.minutes, 60)
    options = [
        f"--job-name=parnwb-{name}",
        f"--nodes={size.nodes}",
        f"--ntasks-per-node={size.tasks_per_node}",
        f"--cpus-per-task={size.cpus_per_task}",
        f"--mem={size.memory_mb}M",
        f"--time={hours:02}:{minutes:02}:00",
        f"--signal=B:USR1@{size.signal_seconds}",
        "--requeue",
        "--open-mode=append",
        "--output=%x-%j.log",
        *site.sbatch_options,
    ]
    return TEMPLATE.format(
        sbatch="\n".join(f"#SBATCH {option}" for option in options),
        summary=f"{size.ranks} ranks, about {size.estimated_seconds / 60:.0f} minutes with verifying",
        site=shlex.quote(str(site.path.absolute())),
        recording=shlex.quote(str(recording.absolute())),
        output=shlex.quote(str(output.absolute())),
        reading=shlex.join(reading),
        converting="".join(f"{shlex.quote(word)} " for word in converting),
        stripes=size.stripes,
    )
