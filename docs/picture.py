"""Make docs/_static/report.png, the picture of a report in README: python docs/picture.py [PICTURE]

A recording is made and converted on four ranks with --report; Chromium shows the page. Needs what `make docs` needs,
and Chromium. Look at the picture before you commit it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from parnwb.recordings.made_recording import make_spikeglx_recording

PICTURE = Path(__file__).parent / "_static" / "report.png"
WIDTH, HEIGHT = 1160, 1205
MEGABYTES, RANKS = 150, 4
METADATA = "NWBFile:\n  session_start_time: 2024-03-05T10:15:30+00:00\n  session_description: A made recording\n"
SCHEMES = {"dark": 0, "light": 1}
COLOURS = 128  # a quarter of the size, and nobody sees it
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser() -> str | None:
    """Return the path of Chromium, if it is there."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def screenshot(page: Path, picture: Path, scheme: str = "light") -> None:
    """Write how the upper part of a page looks in Chromium."""
    profile = tempfile.mkdtemp(prefix="parnwb-browser-")
    command = [browser() or BROWSERS[0], "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--disable-dev-shm-usage", f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}"]
    command += [f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", f"--screenshot={picture}", f"file://{page}"]
    try:
        subprocess.run(command, check=True, timeout=90, capture_output=True)
    finally:
        shutil.rmtree(profile, ignore_errors=True)
    with Image.open(picture) as seen:
        few = seen.convert("RGB").quantize(COLOURS)
    few.save(picture, optimize=True)


def report(folder: Path) -> Path:
    """Return the page about a conversion on four ranks, in a folder."""
    make_spikeglx_recording(folder / "recording", megabytes=MEGABYTES)
    (folder / "session.yaml").write_text(METADATA)
    programs = Path(sys.executable).parent
    argv = ["convert", "recording", "session.nwb", "--metadata", "session.yaml", "--report", "report.html"]
    launch = [programs / "mpiexec", "-n", str(RANKS), programs / "parnwb", *argv]
    subprocess.run(launch, cwd=folder, check=True, timeout=300)
    return folder / "report.html"


def main() -> None:
    picture = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    with tempfile.TemporaryDirectory(prefix="parnwb-") as name:
        screenshot(report(Path(name)), picture.resolve())
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
