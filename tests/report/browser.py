"""A page as Chromium shows it, and what axe-core says of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
SCHEMES = {"dark": 0, "light": 1}


def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium (Debian: apt-get install chromium)")
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (tests/environments/node.sh, which make test calls, installs it)")
    return path


def run(page: Path, scheme: str) -> str:
    command = [
        chromium(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-dev-shm-usage",
    ]
    command += [f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", "--window-size=1400,900"]
    command += ["--virtual-time-budget=30000", "--dump-dom"]
    command += [f"--user-data-dir={page.parent / 'profile'}", f"file://{page}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def look(html: str, folder: Path, width: int, scheme: str) -> dict[str, Any]:
    """Return what look.js finds on a page of some width: that of a frame, because windows are never narrow."""
    chromium()  # or skip, before what comes with it is read
    scripts = "".join(f"<script>{path.read_text()}</script>" for path in (AXE, HERE / "look.js"))
    framed = escape(html.replace("</body>", f"{scripts}</body>"))
    style = f"border:0;width:{width}px;height:900px"
    frame = f'<iframe title="page" style="{style}" srcdoc="{framed}"></iframe>'
    page = folder / "looked_at.html"
    page.write_text(f'<!DOCTYPE html><html lang="en" style="color-scheme:light dark"><body>{frame}</body></html>')
    found = re.search(r'<pre id="found">(.*?)</pre>', run(page, scheme), re.S)
    assert found, "look.js has found nothing: it did not come to its end"
    result: dict[str, Any] = json.loads(unescape(found[1]))
    return result
