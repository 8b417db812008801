"""A finished SLURM script for one conversion: its size, its text, and how it is submitted and followed."""

from __future__ import annotations

from parnwb.jobscript.script import render
from parnwb.jobscript.site_file import SiteFile, read_site
from parnwb.jobscript.size import JobSize, Needs, job_size, needs_of_plan
from parnwb.jobscript.slurm import follow, submit

__all__ = ["JobSize", "Needs", "SiteFile", "follow", "job_size", "needs_of_plan", "read_site", "render", "submit"]
