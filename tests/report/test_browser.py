"""Reports in a real browser: nothing is cut off, and nobody is kept from reading them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from mpi_launch import run_mpi
from report.browser import look
from report.made_up import large_record, long_verdict

from parnwb.recordings.made_recording import make_spikeglx_recording
from parnwb.report.page import verified_page, written_page

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once]

COMMAND = [sys.executable, "-m", "parnwb"]
BACKGROUND = {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Reports of a conversion by four ranks, of a damaged file, and of one with many ranks, datasets and findings."""
    folder = tmp_path_factory.mktemp("report")
    recording = make_spikeglx_recording(folder / "recording", megabytes=12)
    converted = run_mpi(
        4, [*COMMAND, "convert", recording, folder / "out.nwb", "--report", folder / "report.html"], timeout=120
    )
    assert converted.returncode == 0, converted.stderr
    with h5py.File(folder / "out.nwb", "r+") as file:
        del file["session_start_time"]
    argv = ["verify", str(folder / "out.nwb"), "--report", str(folder / "bad.html")]
    assert subprocess.run([*COMMAND, *argv], timeout=100).returncode == 1
    large = large_record()
    return {
        "converted": (folder / "report.html").read_text(),
        "bad": (folder / "bad.html").read_text(),
        "large": written_page(large, long_verdict()).html(),
        "long": verified_page(long_verdict(), large.contents, large.environment).html(),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", ["converted", "large"])
def test_nothing_is_cut_off_or_unreadable(
    pages: dict[str, str], name: str, width: int, scheme: str, tmp_path: Path
) -> None:
    check(pages[name], width, scheme, tmp_path)


@pytest.mark.parametrize(("name", "width", "scheme"), [("bad", 400, "dark"), ("long", 400, "light")])
def test_pages_of_verifications(pages: dict[str, str], name: str, width: int, scheme: str, tmp_path: Path) -> None:
    assert "BAD" in pages[name]
    check(pages[name], width, scheme, tmp_path)


def check(page: str, width: int, scheme: str, folder: Path) -> None:
    found = look(page, folder, width, scheme)
    assert found["width"] == width and found["background"] == BACKGROUND[scheme]
    assert found["checked"] > 10, "axe-core has looked at nothing"
    assert found["wide"] <= found["width"]
    assert {name: found[name] for name in ("beyond", "clipped", "hidden", "faults")} == dict.fromkeys(
        ("beyond", "clipped", "hidden", "faults"), []
    )
    assert not re.search(r"<(script|link|img|iframe)|\bsrc=|\bhref=|url\(|@import", page), "the page loads something"


def test_a_fault_is_found(tmp_path: Path) -> None:
    """The tests above can fail."""
    page = (
        '<html><head><title>x</title></head><body style="margin:0"><img src="x.png" style="width:900px;height:9px">'
        '<p style="color:#eee;background:#fff;width:9px;white-space:nowrap;overflow:hidden">cannot be read</p></body>'
    )
    found = look(page, tmp_path, 400, "light")
    assert found["wide"] > 400 and found["beyond"] and found["clipped"]
    assert any("image-alt" in fault for fault in found["faults"])
