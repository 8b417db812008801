"""Write manual pages of parnwb and of its commands: man.py FOLDER. Needs click-man, which leaves out what ends help."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from click_man.core import write_man_pages

from parnwb.cli.start import SECTIONS, commands


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_man_pages("parnwb", commands, version=version("parnwb"), target_dir=str(folder))
    shared = "".join(section(title, rows) for title, rows in SECTIONS)
    for name, command in {"": commands, **commands.commands}.items():
        examples = getattr(command, "examples", ())
        with (folder / f"{'-'.join(filter(None, ('parnwb', name)))}.1").open("a") as page:
            page.write((section("Examples", examples) if examples else "") + shared)


def section(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Return a section of names and what they mean, as roff."""
    listed = (f".TP\n\\fB{escaped(name)}\\fP\n{escaped(meaning) or chr(92) + '&'}\n" for name, meaning in rows)
    return f".SH {escaped(title.upper())}\n{''.join(listed)}"


def escaped(text: str) -> str:
    """Return a text of which roff takes nothing for its own."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain[:1] in (".", "'") else plain


if __name__ == "__main__":
    main()
