"""The command line: a module for each command, which is a few lines over the library."""

from __future__ import annotations

from parnwb.cli.start import main

__all__ = ["main"]
