"""How buffers get into the file."""

from __future__ import annotations

from parnwb.backends.backend import Backend, Growth, Job, PartialFile, Portion
from parnwb.backends.direct import DirectBackend
from parnwb.backends.mpio import MpioBackend
from parnwb.backends.store import StoreBackend

__all__ = ["Backend", "DirectBackend", "Growth", "Job", "MpioBackend", "PartialFile", "Portion", "StoreBackend"]
