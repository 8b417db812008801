"""``parnwb repack``, ``merge`` and ``split``: files that are written once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parnwb.cli.agreed import agreed_world
from parnwb.cli.command import command
from parnwb.cli.options import SOURCE, WATCHDOG, WRITERS, compression_of
from parnwb.cli.showing import say
from parnwb.cli.speaking import Voice, speaking, speaks
from parnwb.progress import MB

if TYPE_CHECKING:
    from parnwb.repacking import Repacked

Command = Callable[..., Any]
OWN = "own"


def recoding(decorated: Command) -> Command:
    """Add the options that say how datasets are written."""
    for option in (
        click.option(
            "--chunks",
            default=OWN,
            show_default=True,
            callback=lambda _, __, word: chunks_of(word),
            help="Of all large datasets: own, as they are; or auto (2-16 MB, about 64 channels or whole frames).",
        ),
        click.option(
            "--compression",
            default=OWN,
            show_default=True,
            help="Of all large datasets: own, as it is; auto, gzip, a gzip level 0-9, none; or zstd, blosc2-zstd, "
            "bitshuffle-lz4, for which readers need a plugin. A level may follow: zstd-5.",
        ),
        click.option(
            "--dataset",
            "datasets",
            nargs=2,
            multiple=True,
            metavar="PATTERN SETTINGS",
            callback=lambda _, __, pairs: {pattern: settings_of(words) for pattern, words in pairs},
            help="Other settings for paths that match: '/acquisition/*/data' chunks=30000x64,compression=zstd-5. The "
            "first pattern that matches counts.",
        ),
        click.option(
            "--dry-run",
            is_flag=True,
            allow_from_autoenv=False,
            help="Tell what would become of the file; nothing is written.",
        ),
    ):
        decorated = option(decorated)
    return decorated


def writing(decorated: Command) -> Command:
    """Add the options that every command has which writes files once more."""
    for option in (
        click.option(
            "--overwrite", is_flag=True, allow_from_autoenv=False, help="Replace an existing file, finished or not."
        ),
        click.option("--resume", is_flag=True, help="Go on where an earlier job ended; begin if there was none."),
        click.option(
            "--break-lock",
            is_flag=True,
            allow_from_autoenv=False,
            help="Take OUTPUT from a job that has surely ended.",
        ),
        click.option("--commit-interval", default=300.0, show_default=True, help="Seconds between commits."),
        click.option("--manifest", is_flag=True, help="Leave checksums of the file beside it, as OUTPUT.crc."),
        click.option("--buffer-mb", default=64.0, show_default=True, help="MiB that a rank reads at once."),
        WRITERS,
        WATCHDOG,
        speaking("No progress and no table."),
    ):
        decorated = option(decorated)
    return decorated


@command(
    "Write a file once more, with other chunks or filters.",
    (
        "mpiexec -n 4 parnwb repack old.nwb new.nwb --chunks auto --compression auto",
        "chunks and filters as parnwb would choose them",
    ),
    ("parnwb repack old.nwb --dry-run", "how large it would be, and how much of it is not in use"),
    ("mpiexec -n 4 parnwb repack old.nwb new.nwb.zarr", "as a Zarr store; and back"),
    is_collective=True,
)
@SOURCE
@click.argument("output", required=False, type=click.Path(path_type=Path))
@recoding
@click.option(
    "--inplace",
    is_flag=True,
    allow_from_autoenv=False,
    help="Let the new file take the place of SOURCE, when it is complete.",
)
@writing
def repack(source: Path, output: Path | None, voice: Voice, compression: str, **given: Any) -> None:
    """Write SOURCE once more with other chunks or another compression, without the space that it wastes.

    Under mpiexec with all ranks. Any HDF5 file will do. What is not asked to change stays as it is. An OUTPUT that ends
    in .zarr is a Zarr store, which SOURCE may be as well.
    """
    from parnwb.repacking import repack

    _run(repack, (source, output), voice, given | {"compression": _compression(compression)})


@command(
    "Write a file once more, with all that it links to.",
    ("mpiexec -n 4 parnwb merge master.nwb whole.nwb", "one file out of several"),
    is_collective=True,
)
@SOURCE
@click.argument("output", required=False, type=click.Path(path_type=Path))
@recoding
@writing
def merge(source: Path, output: Path | None, voice: Voice, compression: str, **given: Any) -> None:
    """Write SOURCE once more, with all that its links and virtual datasets have in other files.

    Under mpiexec with all ranks.
    """
    from parnwb.repacking import merge

    _run(merge, (source, output), voice, given | {"compression": _compression(compression)})


@command(
    "Write the large series of a file to files of their own.",
    ("mpiexec -n 4 parnwb split whole.nwb master.nwb", "a file for every large series, and links to them"),
    ("mpiexec -n 4 parnwb split whole.nwb master.nwb --part raw.nwb '/acquisition/*'", "all acquisition in one file"),
    is_collective=True,
)
@SOURCE
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--part",
    "parts",
    nargs=2,
    multiple=True,
    metavar="NAME PATTERN",
    help="A file beside OUTPUT, and the paths of what goes there: left.nwb '/acquisition/left*'. May be repeated; "
    "without it there is a file for every series that is large.",
)
@writing
def split(source: Path, output: Path, voice: Voice, parts: Sequence[tuple[str, str]], **given: Any) -> None:
    """Write the large series of SOURCE to files of their own, and OUTPUT with all else and links to them.

    Under mpiexec with all ranks.
    """
    from parnwb.repacking import split

    named: dict[str, list[str]] = {}
    for name, pattern in parts:
        named.setdefault(name, []).append(pattern)
    _run(split, (source, output), voice, given | {"parts": named or None})


def _run(work: Command, paths: Sequence[Path | None], voice: Voice, given: dict[str, Any]) -> None:
    comm = agreed_world()
    voice.check(comm)
    result = work(*paths, comm, progress=voice.view(), **given)
    if speaks() and not (voice.quiet and not given.get("dry_run")):
        for one in result if isinstance(result, tuple) else (result,):
            show(one, comm.Get_size())


def show(result: Repacked, ranks: int) -> None:
    """Print what became of a file, or what would."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    click.echo(str(result.path))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("dataset", overflow="fold")
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("chunks", overflow="fold")
    table.add_column("filters", overflow="fold")
    for change in result.changes:
        old, new = change.before, change.after
        after = ("as they are", "") if change.is_copied else (_shape(new.chunks), new.filters)
        table.add_row(change.path, f"{change.raw_bytes / MB:.2f}", "", "")
        table.add_row("  before", f"{old.nbytes / MB:.2f}", _shape(old.chunks), old.filters)
        table.add_row("  after", f"{new.nbytes / MB:.2f}", *after)
    if result.changes:
        Console().print(table)
    size = f"{result.before / MB:.1f} MB before, {result.after / MB:.1f} MB after"
    if result.seconds:
        speed = sum(change.raw_bytes for change in result.changes) / MB / result.seconds
        say(f"{size}, {result.seconds:.1f} s, {speed:.0f} MB/s of data on {ranks} rank(s)")
    else:
        say(f"{size}, by a sample; {_in_words(result.unused)}")


def _in_words(unused: int | None) -> str:
    if unused is None:
        return "what of several files is not in use is not known"
    return f"about {unused / MB:.1f} MB of the file are not in use"


def _shape(chunks: tuple[int, ...] | None) -> str:
    return "none" if chunks is None else "x".join(map(str, chunks))


def chunks_of(word: str) -> str | tuple[int, ...] | None:
    """Return chunks by the word for them."""
    if word in ("auto", OWN):
        return None if word == OWN else word
    try:
        return tuple(int(extent) for extent in word.split("x"))
    except ValueError as error:
        raise click.BadParameter(f"chunks are own, auto or a shape such as 30000x64, got {word!r}") from error


def _compression(word: str) -> str | int | None:
    return None if word == OWN else compression_of(word)


def settings_of(words: str) -> dict[str, Any]:
    """Return the settings of a dataset by the words for them."""
    settings: dict[str, Any] = {}
    for item in words.split(","):
        name, _, word = item.partition("=")
        if name == "chunks":
            settings[name] = chunks_of(word) or OWN
        elif name == "compression":
            settings[name] = OWN if word == OWN else _compression(word)
        else:
            raise click.BadParameter(f"settings are chunks=... and compression=..., by commas; got {words!r}")
    return settings
