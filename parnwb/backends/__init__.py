"""How buffers get into the file."""

from __future__ import annotations

from parnwb.backends.backend import Backend, Fill
from parnwb.backends.direct import DirectBackend
from parnwb.backends.mpio import MpioBackend

__all__ = ["Backend", "DirectBackend", "Fill", "MpioBackend"]
