"""Commands whose help ends with examples, and the group of all of them, whose help says what exit statuses mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

Example = tuple[str, str]
"""A command line, and what it is for."""
Section = tuple[str, Sequence[tuple[str, str]]]
"""A title, and names with what they mean."""


class Command(click.Command):
    """A command with examples.

    Parameters
    ----------
    examples
        Shown at the end of its help.
    """

    def __init__(self, *arguments: Any, examples: Sequence[Example] = (), **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are typed."""
        with formatter.section("Examples"):
            for line, purpose in self.examples:
                formatter.write(f"{' ' * formatter.current_indent}{line}\n")
                with formatter.indentation():
                    formatter.write_text(purpose)


class Commands(click.Group):
    """The group of all commands.

    Parameters
    ----------
    sections
        Titles, and what is listed under each, shown at the end of the help.
    """

    def __init__(self, *arguments: Any, sections: Sequence[Section] = (), **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.sections = tuple(sections)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        for title, rows in self.sections:
            with formatter.section(title):
                formatter.write_dl(list(rows))


def command(short_help: str, *examples: Example) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command with examples; ``short_help`` is its line in the list of all."""
    return click.command(cls=Command, short_help=short_help, examples=examples)
