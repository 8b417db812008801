"""The text of a script."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from parnwb.jobscript.site_file import SiteFile
from parnwb.jobscript.size import JobSize
from parnwb.site import can_resume

UNFINISHED = " || -e $output.partial.journal"
TEMPLATE = """\
#!/usr/bin/env bash
{sbatch}

# Made by parnwb jobscript: {summary}.
set -eo pipefail
source {site}
set -u  # not before: modules and conda may read variables that are not set
recording={recording}
output={output}
reading=({reading})

if [[ ! -e $output{or_unfinished} ]]; then
{stripe}    {launch} parnwb convert "$recording" "$output" {resume}${{break_lock:+--break-lock}} \\
        {converting}"${{reading[@]}}"
fi
{launch} parnwb verify "$output"{against}
"""
AGAINST = ' --against "$recording" "${reading[@]}"'


def render(
    site: SiteFile,
    size: JobSize,
    recording: Path,
    output: Path,
    *,
    reading: Sequence[str] = (),
    converting: Sequence[str] = (),
    source_stays: bool = True,
) -> str:
    """Return the text of a script that converts, requeues itself before its time is over, and verifies. Independent.

    One whose output cannot be resumed is not requeued: it would begin anew again and again.

    Parameters
    ----------
    reading
        Options of convert and verify that say how the recording is read.
    converting
        Options of convert alone.
    source_stays
        Whether all of the recording is there afterwards, so that the file can be compared with it.
    """
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in output.stem)
    hours, minutes = divmod(size.minutes, 60)
    if can_resume(output, "auto"):
        launch, resume, or_unfinished = "launch_and_requeue", "--resume ", UNFINISHED
        requeueing = [f"--signal=B:USR1@{size.signal_seconds}", "--requeue"]
    else:
        launch, resume, or_unfinished = "launch", "", ""
        requeueing = ["--no-requeue"]
    options = [
        f"--job-name=parnwb-{name}",
        f"--nodes={size.nodes}",
        f"--ntasks-per-node={size.tasks_per_node}",
        f"--cpus-per-task={size.cpus_per_task}",
        f"--mem={size.memory_mb}M",
        f"--time={hours:02}:{minutes:02}:00",
        *requeueing,
        "--open-mode=append",
        "--output=%x-%j.log",
        *site.sbatch_options,
    ]
    return TEMPLATE.format(
        sbatch="\n".join(f"#SBATCH {_quoted(option)}" for option in options),
        summary=f"{size.ranks} ranks, about {size.estimated_seconds / 60:.0f} minutes with verifying, "
        f"limited by {size.limited_by}",
        site=shlex.quote(str(site.path.absolute())),
        recording=shlex.quote(str(recording.absolute())),
        output=shlex.quote(str(output.absolute())),
        reading=shlex.join(reading),
        converting="".join(f"{shlex.quote(word)} " for word in converting),
        stripe="" if size.stripes is None else f'    stripe "$(dirname "$output")" {size.stripes}\n',
        launch=launch,
        resume=resume,
        or_unfinished=or_unfinished,
        against=AGAINST if source_stays else "",
    )


def _quoted(option: str) -> str:
    """Return an option as sbatch reads it in a script: unlike a shell, it knows a backslash in any quotes."""
    if not re.search(r"""[\s"'\\#]""", option):
        return option
    return '"' + option.replace("\\", r"\\").replace('"', r"\"") + '"'
