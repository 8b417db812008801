"""Imports of large libraries by a command, in a process of its own."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def import_pynwb(patience: float = 10.0) -> None:
    """Import pynwb, again where that fails: the first in a new home writes a cache that others read half done."""
    until = time.monotonic() + patience
    while True:
        try:
            with undisturbed():
                import pynwb  # noqa: F401 - what it brings is used by those who import it later
        except ImportError:
            raise
        except Exception:  # a pickle that was cut off may raise anything
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def import_neuroconv() -> None:
    """Import what neuroconv reads with. Where that fails nothing is said: it fails again for those who need it."""
    with undisturbed(), suppress(Exception):
        import neuroconv.converters  # noqa: F401


@contextmanager
def undisturbed() -> Iterator[None]:
    """Import without looking for garbage, and never look for any among what is there then, at the end neither.

    Half a million objects come and stay; to look through them again and again takes a tenth of a short command.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
