"""The code blocks of README and pages, and what is said of those that are not run as they stand.

A fenced block is run by tests/docs/test_blocks.py, unless a comment before it, or at the top of its page for all of
them, says otherwise::

    <!-- run by tests/docs/test_notebooks.py -->    the test takes it by ``the_block``, or has its text
    <!-- not run: needs a SLURM; tests/cluster/test_it.py has one -->
    <!-- blocks of this page: run by tests/docs/test_neuroconv.py -->    the test reads the page

Blocks of the language ``text`` are pictures. Literal blocks in the text of tutorials are commands for a shell.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent

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
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
LITERAL = re.compile(r"::\n\n((?:    .*\n|\n)+)")
READING = ("blocks", "examples", "read_text")
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
    of_page
        Whether that is said of all blocks of the page.
    """

    page: str
    line: int
    language: str
    code: str
    mark: str
    of_page: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_run_here(self) -> bool:
        """Whether test_blocks.py runs it."""
        return not self.mark and self.language != "text"

    @property
    def starts_its_page(self) -> bool:
        """Whether it is how to run the tutorial that shows it, which the pages' build does."""
        return f"python {Path(self.page).name}\n" in self.code

    def is_run_by(self, test: Path) -> bool:
        """Tell whether a test has the text, takes the block, or reads the page if all of its blocks are meant."""
        source = test.read_text()
        if self.code.strip() in source:
            return True
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        if self.of_page:
            return bool({Path(name).name for name in _files_read(ast.parse(source), calls)} & {Path(self.page).name})
        return any(the_block(*given) == self.code for given in _blocks_taken(calls) if given[0] == self.page)


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
                language, is_of_page = token.info.strip(), bool(of_page and not mark)
                found.append(
                    Block(name, token.map[0] + 1, language, token.content, mark or of_page, of_page=is_of_page)
                )
            mark = ""
        elif token.type not in ("paragraph_close", "list_item_open"):
            mark = ""
    return tuple(found)


def the_block(page: str, word: str) -> str:
    """Return the one block of a page that has a word in it: so a test takes what it runs."""
    (found,) = (block.code for block in blocks(ROOT / page) if word in block.code)
    return found


def _blocks_taken(calls: list[ast.Call]) -> Iterator[tuple[str, str]]:
    """Iterate over what ``the_block`` is called with in a test."""
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id == "the_block":
            page, word = (ast.literal_eval(argument) for argument in call.args)
            yield page, word


def _files_read(tree: ast.Module, calls: list[ast.Call]) -> Iterator[str]:
    """Iterate over the names of files that a test reads: as an argument, or by a constant of the module."""
    constants = {
        target.id: list(_strings(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for call in calls:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in READING:
            yield from _strings(call)
            for node in ast.walk(call):
                if isinstance(node, ast.Name):
                    yield from constants.get(node.id, ())


def _strings(tree: ast.AST) -> Iterator[str]:
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def literal_blocks(tutorial: Path) -> tuple[Block, ...]:
    """Return the literal blocks in the text of a tutorial."""
    text = re.sub(r"^# ?", "", tutorial.read_text(), flags=re.MULTILINE)
    name = tutorial.relative_to(ROOT).as_posix()
    return tuple(
        Block(name, text.count("\n", 0, found.start(1)) + 1, "sh", dedent(found.group(1)).strip() + "\n", "")
        for found in LITERAL.finditer(text)
    )


def all_blocks() -> list[Block]:
    """Return the blocks of all pages, and of tutorials."""
    fenced = [block for page in PAGES for block in blocks(page)]
    return fenced + [block for tutorial in TUTORIALS for block in literal_blocks(tutorial)]


def python_blocks() -> dict[str, list[Block]]:
    """Return the Python blocks that are run here, by page."""
    found: dict[str, list[Block]] = {}
    for block in all_blocks():
        if block.is_run_here and block.language == "python":
            found.setdefault(block.page, []).append(block)
    return found
