"""What a job's root tells while ranks write: events, which views show and the log keeps."""

from __future__ import annotations

from parnwb.progress.choosing import MODES, meter_of, progress_for, view_by_name, view_of
from parnwb.progress.events import FAILED, MB, Committed, DatasetDone, Event, Extent, Planned, Published, Started, State
from parnwb.progress.json_lines import JsonLines
from parnwb.progress.meter import Counting, Extrapolated, Meter
from parnwb.progress.plain import PlainLines
from parnwb.progress.terminal import Terminal
from parnwb.progress.view import Progress, Silent, View

__all__ = [
    "Committed",
    "Counting",
    "DatasetDone",
    "Event",
    "Extent",
    "Extrapolated",
    "FAILED",
    "JsonLines",
    "MB",
    "MODES",
    "Meter",
    "PlainLines",
    "Planned",
    "Progress",
    "Published",
    "Silent",
    "Started",
    "State",
    "Terminal",
    "View",
    "meter_of",
    "progress_for",
    "view_by_name",
    "view_of",
]
