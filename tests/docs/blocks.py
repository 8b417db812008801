"""The code blocks of README and pages, and what is said of those that are not run as they stand.

A fenced block is run by tests/docs/test_blocks.py, unless a comment before it, or at the top of its page for all of
them, says otherwise::

    <!-- run by tests/docs/test_neuroconv.py -->                     the test names the page
    <!-- not run: needs a SLURM; tests/cluster/test_it.py has one -->
    <!-- blocks of this page: run by tests/docs/test_neuroconv.py -->

Blocks of the language ``text`` are pictures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
MADE = ("gallery", "generated", "_build", "tutorials")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "docker" / "README.md",
    ROOT / "jobscripts" / "README.md",
    ROOT / "packaging" / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if not set(MADE) & set(path.parts)),
]
COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)
WHOLE_PAGE = "blocks of this page: "


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Parameters
    ----------
    page
        Seen from the top, such as ``docs/queue.md``.
    line
        Of its first line, from 1.
    language
        As the fence says; nothing for an indented block.
    code
        What stands in it.
    mark
        What is said of it, or nothing.
    """

    page: str
    line: int
    language: str
    code: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_run_here(self) -> bool:
        """Whether test_blocks.py runs it."""
        return not self.mark and self.language != "text"


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """Return the blocks of a page; not the directives of Sphinx."""
    found, mark, of_page = [], "", ""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        if token.type == "html_block":
            comment = COMMENT.search(token.content)
            mark = comment.group(1) if comment else ""
            if mark.startswith(WHOLE_PAGE):
                of_page, mark = mark.removeprefix(WHOLE_PAGE), ""
        elif token.type in ("fence", "code_block"):
            assert token.map is not None
            if not token.info.startswith("{"):
                name = page.relative_to(ROOT).as_posix()
                found.append(Block(name, token.map[0] + 1, token.info.strip(), token.content, mark or of_page))
            mark = ""
        elif token.type not in ("paragraph_close", "list_item_open"):
            mark = ""
    return tuple(found)


def all_blocks() -> list[Block]:
    """Return the blocks of all pages."""
    return [block for page in PAGES for block in blocks(page)]


def python_blocks() -> dict[str, list[Block]]:
    """Return the Python blocks that are run here, by page."""
    found: dict[str, list[Block]] = {}
    for block in all_blocks():
        if block.is_run_here and block.language == "python":
            found.setdefault(block.page, []).append(block)
    return found
