"""``split``: what is large goes to files of its own, and one file has all else and links to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parnwb.authoring.bulk_rule import DEFAULT_THRESHOLD_BYTES, BulkRule
from parnwb.comm import DEFAULT_WATCHDOG, Ranks, until_checked
from parnwb.commits.amendment import finish_append_alone
from parnwb.errors import ParnwbError
from parnwb.repacking.crossing import check_no_store
from parnwb.repacking.finished import finished
from parnwb.repacking.result import Repacked
from parnwb.repacking.run import opened_source, run

if TYPE_CHECKING:
    from mpi4py import MPI

    from parnwb.rewriting.rewriting import Rewriting


@dataclass(frozen=True)
class _Plan:
    """Which file has what.

    Parameters
    ----------
    parts
        Paths of what each data file has, by its name.
    staying
        What is large and stays.
    """

    parts: dict[str, tuple[str, ...]]
    staying: tuple[str, ...]


def split(
    source: str | Path,
    output: str | Path,
    comm: MPI.Intracomm | None = None,
    *,
    parts: Mapping[str, Sequence[str]] | None = None,
    bulk_threshold: int = DEFAULT_THRESHOLD_BYTES,
    **settings: Any,
) -> tuple[Repacked, ...]:
    """Write large series and tables to files of their own, and a file with all else and links to them. Collective.

    The reverse of ``merge``, and what ``write_modular`` makes. A data file also has everything of the source that is
    small, so that it is an NWB file itself. Stored chunks are copied as they are. All ranks write one file after
    another, the file of links last. What something refers to that stays must stay, too.

    Parameters
    ----------
    source
        The file.
    output
        The file of links; the data files go to its folder.
    comm
        Communicator; None for this process alone.
    parts
        By the name of a data file, patterns of paths of what it has (``['/acquisition/left*']``); what none matches
        stays. None: a file for each large series or table, but together what refers to each other.
    bulk_threshold
        Datasets of at least so many bytes are large.
    **settings
        As for ``repack``. With ``resume`` files that an earlier job has finished stay, if they are of the source as it
        is now; else that is refused, or with ``overwrite`` they are written again.

    Returns
    -------
    files
        What became of each file that this call has written, that of links last.

    Raises
    ------
    ParnwbError
        The same on all ranks. Files that were written by this call are removed, unless it may overwrite or resume.
    """
    source, output = Path(source).absolute(), Path(output).absolute()
    ranks = Ranks(comm, until_checked(settings.get("watchdog", DEFAULT_WATCHDOG)))
    rule = BulkRule(threshold=bulk_threshold)
    written: list[Path] = []
    try:
        with ranks.agreed("finishing an interrupted append"):
            if ranks.is_root:
                finish_append_alone(source)
        given = [output, *(output.parent / name for name in parts or ())]
        ranks.on_root("looking at the formats", lambda: check_no_store("split", source, given))
        plan = ranks.on_root("dividing the file", lambda: _plan(source, output, rule, parts, settings))
        contents = {
            output.parent / name: partial(_content, source, rule=rule, plan=plan, name=name, master=output.name)
            for name in (*plan.parts, output.name)
        }
        done: set[Path] = set()
        if settings.get("resume") and not settings.get("overwrite"):
            done = ranks.on_root("looking at what is finished", lambda: finished(contents, ranks.going_on))
        results = []
        for path, content in contents.items():
            if path not in done:
                results.append(run(ranks, comm, source, path, content, settings))
                written.append(path)
        return tuple(results)
    except BaseException:
        if ranks.is_root and not settings.get("overwrite") and not settings.get("resume"):
            for path in written:
                with suppress(OSError):
                    path.unlink()
        raise
    finally:
        ranks.free()


def _plan(
    source: Path,
    output: Path,
    rule: BulkRule,
    wanted: Mapping[str, Sequence[str]] | None,
    settings: Mapping[str, Any],
) -> _Plan:
    from parnwb.rewriting.parting import Parting
    from parnwb.rewriting.survey import Scope, survey

    with ExitStack() as files:
        parting = Parting.of(survey(opened_source(source, files), Scope(rule), files))
    parts = parting.named(output.stem, wanted)
    everything = [path for group in parting.together for path in group]
    moved = {path for paths in parts.values() for path in paths}
    names = [*parts, output.name]
    if not parts:
        stays = f"; what others refer to must stay: {', '.join(parting.staying)}" if parting.staying else ""
        raise ParnwbError(
            f"nothing that is large can be in a file of its own{stays}",
            where=str(source),
            remedy="Choose a smaller bulk_threshold, or leave the file whole",
        )
    odd = [name for name in parts if Path(name).name != name or (output.parent / name) == source]
    if odd or len(set(names)) < len(names) or output == source:
        raise ParnwbError(
            f"all files must have plain names of their own, got {', '.join(names)}", where=str(output.parent)
        )
    existing = [name for name in names if (output.parent / name).exists()]
    if existing and not settings.get("overwrite") and not settings.get("resume"):
        raise ParnwbError(
            f"the output is there already: {', '.join(existing)}",
            where=str(output.parent),
            remedy="Pass overwrite=True (--overwrite)",
        )
    return _Plan(parts, (*parting.staying, *(path for path in everything if path not in moved)))


def _content(source: Path, files: ExitStack, *, rule: BulkRule, plan: _Plan, name: str, master: str) -> Rewriting:
    from parnwb.rewriting.rewriting import Rewriting
    from parnwb.rewriting.survey import Scope, survey

    elsewhere = {path: other for other, paths in plan.parts.items() for path in paths if other != name}
    if name != master:
        elsewhere |= dict.fromkeys(plan.staying, master)
    scope = Scope(rule, elsewhere=elsewhere, left_out=name != master)
    return Rewriting(survey(opened_source(source, files), scope, files))
