"""How buffers get into the file."""

from __future__ import annotations

from parnwb.backends.backend import NO_JOURNAL, Backend, Growth, Job, PartialFile, Portion
from parnwb.backends.direct import DirectBackend
from parnwb.backends.mpio import MpioBackend
from parnwb.backends.virtual import VirtualBackend

__all__ = [
    "NO_JOURNAL",
    "Backend",
    "DirectBackend",
    "Growth",
    "Job",
    "MpioBackend",
    "PartialFile",
    "Portion",
    "VirtualBackend",
]
