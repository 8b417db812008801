"""The picture of a report in README: there, small, and made by the program that says so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
Image = pytest.importorskip("PIL.Image", reason="plots are drawn where matplotlib is, in the other environment")

import picture  # noqa: E402
from report.made_up import large_record  # noqa: E402

from parnwb.report.page import written_page  # noqa: E402

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once]


def test_it_is_small_and_shown() -> None:
    assert picture.PICTURE.stat().st_size < 150_000
    with Image.open(picture.PICTURE) as seen:
        assert seen.size == (picture.WIDTH, picture.HEIGHT)
    assert "](docs/_static/report.png)" in (ROOT / "README.md").read_text()
    assert "](_static/report.png)" in (ROOT / "docs" / "index.md").read_text()


@pytest.mark.parametrize(("scheme", "corner"), [("light", (255, 255, 255)), ("dark", (13, 17, 23))])
def test_it_can_be_made(scheme: str, corner: tuple[int, int, int], tmp_path: Path) -> None:
    if picture.browser() is None:
        pytest.skip("there is no Chromium (Debian: apt-get install chromium)")
    (tmp_path / "page.html").write_text(written_page(large_record(), None).html())
    picture.screenshot(tmp_path / "page.html", tmp_path / "page.png", scheme)
    with Image.open(tmp_path / "page.png") as seen:
        shown = seen.convert("RGB")
    assert shown.size == (picture.WIDTH, picture.HEIGHT)
    assert shown.getpixel((0, 0)) == corner and len(shown.getcolors(1000) or ()) > 20
