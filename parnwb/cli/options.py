"""Arguments and options that several commands take, and what their words mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from parnwb.recordings.conversion import SourceData

Command = Callable[..., Any]
SOURCE = click.argument("source", type=click.Path(path_type=Path))
OUTPUT = click.argument("output", type=click.Path(path_type=Path))
WATCHDOG = click.option(
    "--watchdog",
    default=600.0,
    show_default=True,
    help="Seconds that one step of a rank may take before it ends the job; 0 for no limit.",
)


def reading(command: Command) -> Command:
    """Add the options that say how neuroconv reads a source."""
    options = (
        click.option("--interface", help="Data interface or converter of neuroconv; SpikeGLX needs none."),
        click.option(
            "--option", "options", multiple=True, metavar="KEY=VALUE", help="For the interface; may be repeated."
        ),
        click.option(
            "--metadata", type=click.Path(path_type=Path), help="YAML in neuroconv's format, merged over the source's."
        ),
    )
    for option in reversed(options):  # the last decorator's is listed first
        command = option(command)
    return command


def planning_where(compression: str) -> Callable[[Command], Command]:
    """Return what adds the options that shape the plan, with what a command compresses with by default."""
    options = (
        click.option(
            "--compression",
            show_default=compression,
            help="auto, gzip, a gzip level 0-9, none; or zstd, blosc2-zstd, bitshuffle-lz4, for which readers need a "
            "plugin. A level may follow: zstd-5.",
        ),
        click.option(
            "--chunks",
            callback=lambda _, __, word: None if word == "own" else word,
            default="own",
            show_default=True,
            help="Of data without chunks of their own: auto (2-16 MB, about 64 channels or whole frames), or own, as "
            "pynwb and the interface choose.",
        ),
        click.option("--decomposition", default="balanced", show_default=True, help="balanced, slab or block."),
        click.option("--buffer-mb", default=64.0, show_default=True, help="MiB that a rank reads at once."),
        click.option(
            "--queue",
            multiple=True,
            metavar="POLICY|PATTERN=NUMBER",
            callback=lambda _, __, words: policy(words),
            help="What is written first: file (default), round-robin or largest; or PATTERN=NUMBER, repeated: paths "
            "like '/processing/*', the smallest number first, the rest last.",
        ),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):  # the last decorator's is listed first
            command = option(command)
        return command

    return decorate


planning = planning_where("auto")


WRITERS = click.option(
    "--writers-per-node",
    type=click.IntRange(min=0),
    help="Ranks of each host that write to the file, 0 for the root alone; else as the file system wants it.",
)


LOCAL = click.option(
    "--local",
    metavar="FOLDER",
    help="With virtual: where each host keeps parts until they are whole; each rank looks up $VARIABLES ('$TMPDIR').",
)


THREADS = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads of each rank that compress; else as many as SLURM_CPUS_PER_TASK says, or one.",
)


def movies_option(said: str) -> Callable[[Command], Command]:
    """Return the option that says what becomes of movies, with what it means for a command."""
    return click.option(
        "--movies", type=click.Choice(["keep", "copy", "move", "ingest"]), default="keep", show_default=True, help=said
    )


MOVIES = movies_option(
    "Of series that name movies or image stacks: leave them where they are; copy or move them beside OUTPUT, as "
    "dandi organize would; or ingest their frames as data."
)


ON_MISMATCH = click.option(
    "--on-mismatch",
    type=click.Choice(["raise", "warn", "copy"]),
    default="raise",
    show_default=True,
    help="Of movies and linked data that are not what their series says: refuse them; warn, and write what it says; or "
    "copy such data, and refuse such movies.",
)


def source_data(path: Path, given: dict[str, Any]) -> SourceData:
    """Return what is to be read, and take the options that say how out of ``given``."""
    from parnwb.recordings.conversion import SourceData

    options = {}
    for item in given.pop("options"):
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"--option takes KEY=VALUE, got {item!r}")
        options[key] = value
    chosen = {name: given[name] for name in ("movies", "on_mismatch") if given.get(name)}
    return SourceData(path, given.pop("interface"), options, given.pop("metadata"), **chosen)


def compression_of(text: str) -> str | int:
    """Return a default compression by the word for it."""
    return int(text) if text.isdecimal() and text.isascii() else text


def policy(words: Sequence[str]) -> str | dict[str, float]:
    """Return a queue's policy by the words for it."""
    if not any("=" in word for word in words):
        if len(words) > 1:
            raise click.BadParameter(f"one policy, or PATTERN=NUMBER several times; got {' and '.join(words)}")
        return words[0] if words else "file"
    places = {}
    for word in words:
        pattern, separator, number = word.rpartition("=")
        try:
            places[pattern] = float(number)
        except ValueError:
            pattern = ""
        if not separator or not pattern:
            raise click.BadParameter(f"PATTERN=NUMBER, such as '/processing/*=0', got {word!r}")
    return places
