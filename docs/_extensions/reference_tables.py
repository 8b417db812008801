"""Directives for tables that are made from the package: ``collective-contract`` and ``error-catalogue``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import error_messages
import public_calls
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("|".join(["", *map(cell, line), ""]) for line in lines)


def cell(text: str) -> str:
    """Return what stands between two bars."""
    return f" {text} ".replace("|", "\\|").replace("\n", " ")


def code(text: str) -> str:
    """Return docstrings' double backticks as Markdown's."""
    return text.replace("``", "`")


class CollectiveContract(SphinxDirective):
    """The public calls, with what their docstrings say."""

    def run(self) -> list[nodes.Node]:
        parts = []
        for kind in ("collective", "independent"):
            rows = [(f"`{call.name}`", code(call.summary)) for call in public_calls.calls() if call.contract == kind]
            parts += [f"## {kind.capitalize()}", table(("call", "what it does"), rows)]
        return self.parse_text_to_nodes("\n\n".join(parts), allow_section_headings=True)


class ErrorCatalogue(SphinxDirective):
    """A section for each class of errors, with all its messages."""

    def run(self) -> list[nodes.Node]:
        messages = error_messages.messages()
        parts = []
        for kind, sentence in error_messages.kinds().items():
            rows = [
                (plain(item.rule), plain(item.remedy), f"`{item.module}`") for item in messages if item.kind == kind
            ]
            parts += [f"## {kind}", code(sentence)]
            parts += [table(("message", "remedy", "raised in"), rows)] if rows else []
        return self.parse_text_to_nodes("\n\n".join(parts), allow_section_headings=True)


def plain(text: str) -> str:
    """Return text that means nothing to Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#$" else letter for letter in text)


def escape_asterisks(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Let sphinx-click show the asterisks of options' help: it takes them for emphasis."""
    lines[:] = [line.replace("*", "\\*") for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("sphinx_click")
    app.connect("sphinx-click-process-options", escape_asterisks)
    app.add_directive("collective-contract", CollectiveContract)
    app.add_directive("error-catalogue", ErrorCatalogue)
    return {"parallel_read_safe": True}
