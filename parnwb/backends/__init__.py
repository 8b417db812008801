"""How buffers get into the file."""

from __future__ import annotations

from parnwb.backends.backend import Backend, Growth, Job, PartialFile, Portion
from parnwb.backends.direct import DirectBackend
from parnwb.backends.mpio import MpioBackend

__all__ = ["Backend", "DirectBackend", "Growth", "Job", "MpioBackend", "PartialFile", "Portion"]
