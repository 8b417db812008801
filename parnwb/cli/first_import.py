"""The first import of pynwb by ranks that begin together."""

from __future__ import annotations

import time


def import_pynwb(patience: float = 10.0) -> None:
    """Import pynwb, again where that fails: the first in a new home writes a cache that others read half done."""
    until = time.monotonic() + patience
    while True:
        try:
            import pynwb  # noqa: F401 - what it brings is used by those who import it later
        except ImportError:
            raise
        except Exception:  # a pickle that was cut off may raise anything
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return
