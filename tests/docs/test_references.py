"""What the pages refer to is there: tests that show a promise, modules, and other pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parnwb.cli.start import commands

pytestmark = pytest.mark.mpi_skip

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "docs" / "benchmarks.md")  # it tells of former programs, too
PROGRAMS = [path.relative_to(ROOT).as_posix() for top in ("tests", "docs") for path in (ROOT / top).rglob("*.py")]
PATH = re.compile(r"`((?:[\w.-]+/)*\w+\.py)`")
MADE_WITH_THE_PAGES = "gallery/"  # the build of the pages looks at these
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]+")
OF_OTHERS = {"--help", "--version", "--config", "--cpus-per-task"}
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def is_there(name: str) -> bool:
    """Tell whether a path exists: from the top, or, if it is shortened, at the end of a test's or example's path."""
    return (ROOT / name).is_file() or (
        not name.startswith(("tests/", "docs/")) and any(f"/{path}".endswith(f"/{name}") for path in PROGRAMS)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_and_pages_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    missing = [name for name in PATH.findall(text) if not is_there(name)]
    links = [link for link in LINK.findall(text) if not link.startswith(MADE_WITH_THE_PAGES)]
    missing += [link for link in links if not (page.parent / link).exists()]
    assert not missing, f"{page.name} names {', '.join(sorted(set(missing)))}"


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "docs" / "howto").glob("*.md"))], ids=lambda page: page.name)
def test_options_that_a_page_names_are_some_command_s(page: Path) -> None:
    said = {word for code in re.findall(r"`([^`]+)`", page.read_text()) for word in OPTION.findall(code)}
    options = [option for command in commands.commands.values() for option in command.params]
    own = {word for option in options for word in (*option.opts, *option.secondary_opts)}
    programs = "".join(path.read_text() for path in (ROOT / "benchmarks").rglob("*.py"))
    unknown = [word for word in sorted(said - own - OF_OTHERS) if f'"{word}"' not in programs]
    assert not unknown, f"{page.name} names {', '.join(unknown)}"


def test_every_promise_has_a_test() -> None:
    rows = [line for line in (ROOT / "docs" / "reliability.md").read_text().splitlines() if line.startswith("| ")]
    promises = [row.strip("|").split(" | ") for row in rows[1 : rows.index("| what is to come | | |")]]
    assert len(promises) > 30
    for fault, _, shown in promises:
        assert PATH.search(shown), f"nothing shows what is promised for:{fault}"
