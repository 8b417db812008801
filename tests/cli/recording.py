"""What commands print, compared with what they were seen to print: `PARNWB_RECORD=1 pytest tests/cli` records it anew.

Look at the difference before committing it: these are the words that people read.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

RECORDED = Path(__file__).parent / "recorded"
COLUMNS = 80
# Where lines may be longer: paths are not broken, so that they can be copied.
NAMES = re.compile(r"FOLDER")


@contextmanager
def short_folder() -> Iterator[Path]:
    """Make a folder whose name has the same length each time: lines are broken where they were before."""
    folder = Path(tempfile.mkdtemp(prefix="parnwb-", dir="/tmp"))
    try:
        yield folder
    finally:
        rmtree(folder)


def normalised(text: str, folder: Path) -> str:
    """Return a text without what differs between machines and runs."""
    text = text.replace(str(folder), "FOLDER").replace(str(Path(sys.executable).parent), "PROGRAMS")
    text = re.sub(r"parnwb: warning: session_start_time .*\n", "", text)
    text = text.replace(f"on {socket.gethostname()})", "on HOST)")
    text = re.sub(r"; /acquisition/\w+/data", "; /acquisition/NAME/data", text)  # whichever was the last
    text = re.sub(r"\d+(\.\d+)?(?= (s|MB/s|MB|MiB|minutes)\b)", "N", text)
    text = re.sub(r"\d+\.\d+", "N", text)
    return re.sub(r"[ \t]+\n", "\n", text)


def compare(name: str, text: str) -> None:
    """Compare a text with the recorded one, or record it."""
    path = RECORDED / f"{name}.txt"
    if os.environ.get("PARNWB_RECORD"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.is_file(), f"{name} is not recorded: PARNWB_RECORD=1 pytest tests/cli, and look at {path}"
    assert text == path.read_text(), f"if this is better, record it: PARNWB_RECORD=1 pytest tests/cli ({path})"


def too_wide(text: str) -> list[str]:
    """Return the lines that are broken by a terminal of 80 columns."""
    return [line for line in text.splitlines() if len(line) > COLUMNS and not NAMES.search(line)]
