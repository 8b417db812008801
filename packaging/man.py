"""Write manual pages of parnwb and of its commands: man.py FOLDER. Needs click-man."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from click_man.core import write_man_pages

from parnwb.cli.start import commands


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_man_pages("parnwb", commands, version=version("parnwb"), target_dir=str(folder))


if __name__ == "__main__":
    main()
