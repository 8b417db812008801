"""Commands whose help ends with examples, and the group of all of them, whose help says what exit statuses mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from parnwb.cli.agreed import fail_together, have_met

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
    is_collective
        Whether all ranks of a launcher do it together, and meet in ``agreed_world``.
    """

    def __init__(
        self, *arguments: Any, examples: Sequence[Example] = (), is_collective: bool = False, **keywords: Any
    ) -> None:
        super().__init__(*arguments, **keywords)
        self.examples = tuple(examples)
        self.epilog = literal("Examples", self.examples)  # for pages; help has them by format_epilog
        self.is_collective = is_collective

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
        self.epilog = "\n\n".join(literal(title, rows) for title, rows in self.sections)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Where ranks do it together, what keeps one of them from beginning is told to all."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            from parnwb.comm import launched_size  # brings numpy, for which no help has to wait

            command = self.commands.get(ctx.invoked_subcommand or "")
            if not getattr(command, "is_collective", False) or launched_size() == 1 or have_met(ctx):
                raise
            fail_together(error)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        for title, rows in self.sections:
            with formatter.section(title):
                formatter.write_dl(list(rows))


def literal(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Return a section as reStructuredText, in which options keep their dashes."""
    lines = [f"    {name}\n        {meaning}" for name, meaning in rows]
    return "\n".join([f".. rubric:: {title}", "", "::", "", *lines])


def command(
    short_help: str, *examples: Example, is_collective: bool = False
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command with examples; ``short_help`` is its line in the list of all."""
    return click.command(cls=Command, short_help=short_help, examples=examples, is_collective=is_collective)
