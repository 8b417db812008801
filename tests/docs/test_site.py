"""The pages are built without a warning, tutorials run on their ranks, and links lead somewhere."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from report.browser import look

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once, pytest.mark.slow]

DOCS = Path(__file__).parents[2] / "docs"
BUILD = DOCS / "build.py"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.py"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built pages; every tutorial is run."""
    pytest.importorskip("sphinx_gallery", reason='needs the extra "docs"')
    shutil.rmtree(DOCS / "gallery", ignore_errors=True)
    folder: Path = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, BUILD, folder], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_tutorials_show_what_they_printed_on_all_ranks(site: Path) -> None:
    page = (site / "gallery" / "plot_1_advanced_io.html").read_text()
    assert all(f"rank {rank} of 3 is here" in page for rank in range(3))
    assert "good - 2.6 MB read back" in page
    resumed = (site / "gallery" / "plot_5_resume.html").read_text()
    assert "exit status of the killed job is not 0" in resumed
    assert "were there from an earlier job" in resumed and "GOOD: session.nwb" in resumed


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_every_tutorial_has_a_page_with_a_picture_and_the_program(site: Path, tutorial: Path) -> None:
    page = (site / "gallery" / f"{tutorial.stem}.html").read_text()
    assert f"sphx_glr_{tutorial.stem}_001" in page and "sphx-glr-script-out" in page
    assert list((site / "_downloads").rglob(tutorial.name))


def test_reference_is_made_from_the_source(site: Path) -> None:
    contract = (site / "reference" / "contract.html").read_text()
    assert "NWBParallelIO.append_together" in contract and "collective" in contract
    assert "Pass comm=MPI.COMM_WORLD" in (site / "reference" / "errors.html").read_text()
    assert "--commit-interval" in (site / "reference" / "command-line.html").read_text()


@pytest.mark.parametrize("name", ["index.html", "reference/contract.html"])
def test_pages_fit_a_narrow_screen(site: Path, name: str, tmp_path: Path) -> None:
    """What is wider, programs and tables, scrolls by itself, and the page around it does not."""
    page = site / name
    found = look(page.read_text().replace("<head>", f'<head><base href="file://{page}">', 1), tmp_path, 400, "light")
    assert found["width"] == found["wide"] == 400
    assert not [fault for fault in found["faults"] if fault.startswith(("color-contrast", "image-alt"))]


def test_a_link_to_nothing_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<p id="here"></p>')
    (tmp_path / "page.html").write_text(
        '<a href="other.html#here"></a><a href="other.html#there"></a><img src="gone.png"><a href="https://x.org/y"></a>'
    )
    broken = list(runpy.run_path(str(BUILD))["broken_links"](tmp_path))
    assert broken == ["page.html: other.html#there has no such place", "page.html: gone.png"]
