"""Resume: the skeleton as the journal's last commit left it, for a job that must be the same one."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb import layout as layouts
from parnwb.comm import Ranks
from parnwb.commits.journal import (
    CLOSING,
    Committed,
    check_covered,
    crc32c,
    frames,
    no_records,
    replay,
    without_open_chunks,
)
from parnwb.commits.stored import damaged, own_share
from parnwb.element import comparable
from parnwb.errors import ParnwbError, ResumeError, TargetError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.overlay import Overlay
from parnwb.planning import plan as plans
from parnwb.progress import Extrapolated, Meter, Started
from parnwb.resident.gathering import gathered
from parnwb.site import BackendChoice
from parnwb.sources import Access, Source, takes_over
from parnwb.sources.sample import sample, stored_sample
from parnwb.target import TOKEN_BYTES, Target

if TYPE_CHECKING:
    from hdmf.build import BuildManager

    from parnwb.authoring.export import Content
    from parnwb.authoring.skeleton import Authored, AuthoringOptions, Skeleton

Samples = dict[str, list[int]]
REMEDY = "Resume with the recording and settings that the file was begun with, or start anew (without --resume)"


@dataclass(frozen=True)
class Earlier:
    """An earlier attempt at the same file.

    Parameters
    ----------
    committed
        What its journal holds.
    finished
        Whether it had given the file its final name already.
    """

    committed: Committed
    finished: bool


def find_earlier(target: Target, *, overwrite: bool = False) -> Earlier | None:
    """Return what there is to resume, or None. Independent; on the root.

    Raises
    ------
    ResumeError
        The journal is damaged from its first commit on, or beyond it. The first is no error where the partial file
        may be overwritten.
    StorageError
        The partial file has lost bytes that were committed.
    """
    if not target.journal.exists():
        return None
    if not any(frames(target.journal)):
        _check_nothing_done(target, overwrite=overwrite)
        return None
    committed = without_open_chunks(replay(target.journal))
    if committed.complete and not target.partial.exists() and target.path.exists():
        if target.path.stat().st_size == committed.end:  # else it is another file
            return Earlier(committed, finished=True)
    check_covered(target.partial, committed)
    return Earlier(committed, finished=False)


def _check_nothing_done(target: Target, *, overwrite: bool) -> None:
    """Refuse a journal without its first frame beside a partial file with data: that frame comes before any chunk."""
    has_data = target.partial.exists() and target.partial.stat().st_size > TOKEN_BYTES
    if has_data and target.journal.stat().st_size > 0 and not overwrite:
        raise ResumeError(
            "the beginning of the journal is damaged, and the partial file holds data that cannot be resumed without",
            where=str(target.journal),
            remedy="Restore the journal, or begin anew with overwrite=True (--overwrite)",
        )


def check_nothing_lost(target: Target, *, overwrite: bool) -> None:
    """Refuse to begin anew where an unfinished file holds committed work. Independent; on the root.

    Raises
    ------
    TargetError
        There is one, and it is not to be overwritten.
    """
    if overwrite or not has_committed(target):
        return
    raise TargetError(
        "an unfinished file of an earlier job is there, with work that can be resumed",
        where=str(target.partial),
        remedy="Resume it (--resume, mode 'resume'), or begin anew with overwrite=True (--overwrite)",
    )


def has_committed(target: Target) -> bool:
    """Tell whether there is a partial file with a journal that makes any chunk safe. Independent."""
    try:
        both = target.journal.exists() and target.partial.exists()
        committed = replay(target.journal) if both else None
        return committed is not None and (len(committed.records) > 0 or bool(committed.streams))
    except ResumeError:
        return False


def is_worth_keeping(target: Target) -> bool:
    """Tell whether a job that fails should leave its partial file for a later one. Independent; on the root.

    It should when a commit was due or asked for: then the job had run for long. What a short job did is soon done
    again, and what it leaves behind would only be in the way.
    """
    if not target.partial.exists() or not target.journal.exists():
        return False
    try:
        due = (frame for frame, _ in frames(target.journal) if frame.description != CLOSING)
        return any(len(frame.records) or frame.streams for frame in due)
    except ParnwbError:
        return True  # nobody can tell


def describe_attempt(skeleton: Authored, samples: Samples, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a resuming job must agree with, for the journal's first frame. Independent; on the root."""
    return {
        "attempt": os.urandom(8).hex(),  # so that no frame of another attempt fits after this one
        "format": journal_format(),
        "layout": skeleton.layout.to_json(),
        "signature": skeleton.signature,
        "samples": samples,
        **settings,
    }


def said(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return, as text, those arguments of ``write`` that the file depends on and its layout does not show."""
    expandable = arguments.get("expandable")
    shown = "default" if expandable is None else repr(sorted(map(str, expandable)))
    return {"cache_spec": repr(bool(arguments.get("cache_spec", True))), "expandable": shown}


def journal_format() -> dict[str, int]:
    """Return the constants of this version that give a journal's numbers, and the chunks it names, their meaning.

    Independent.
    """
    return {
        "contiguous_piece_bytes": layouts.CONTIGUOUS_PIECE_BYTES,
        "read_grid_bytes": plans.READ_GRID_BYTES,
    }


def fingerprints(layout: FileLayout, sources: Mapping[str, Source]) -> Samples:
    """Return checksums of a sample of every dataset's values, or stored chunks, by path. Independent."""
    return {
        spec.path: _fingerprint(spec, sources[spec.path])
        for spec in layout
        if spec.access not in (Access.SEQUENTIAL, Access.GROWING)
    }


def _fingerprint(spec: DatasetSpec, source: Source) -> list[int]:
    if takes_over(source, spec):
        return [crc32c(stored) for stored in stored_sample(source, spec.grid)]
    return [crc32c(np.ascontiguousarray(comparable(piece))) for piece in sample(source, spec.grid, spec.place)]


def restore(earlier: Earlier, target: Target, options: AuthoringOptions, described: Described) -> Skeleton:
    """Return the skeleton of the last commit, its data coming from where they come now. Independent; on the root.

    Raises
    ------
    ResumeError
        The content, its data or the settings are not those that the file was begun with.
    """
    from parnwb.authoring.skeleton import Skeleton
    from parnwb.memory_file import reopen_on

    committed, sources, signed = earlier.committed, described.sources, described.signature
    begun = committed.description
    if not {"format", "layout", "signature", "samples", "compression", "arguments"} <= begun.keys():
        raise ResumeError("the journal does not say what was begun", where=str(target.journal), remedy=REMEDY)
    _check_same("the version of parnwb", begun["format"], journal_format())
    datasets = FileLayout.from_json(begun["layout"])
    # A file that was repacked in place is what is read now: it cannot be compared with what was read then.
    own = {os.path.realpath(target.path)} & begun["signature"].keys() if earlier.finished else set()
    apart = own | {name for name, value in begun["signature"].items() if _names_copies(name, value)}
    _check_same("the NWBFile", _without(begun["signature"], apart), _without(signed, apart))
    _check_same("the compression", {"compression": begun["compression"]}, {"compression": options.compression})
    _check_same("the argument of write", begun["arguments"], said(options.write_arguments))
    accesses = {spec.path: spec.access for spec in datasets}
    _check_there(accesses, sources)
    _check_same("how data can be read", accesses, {path: sources[path].access.value for path in accesses})
    if not own:
        _check_same("the data", begun["samples"], fingerprints(datasets, sources))
    overlay = Overlay(committed.extents, committed.end)
    for address, size in committed.records[:, [2, 3]]:
        overlay.discard(int(address), int(address + size))  # it may have been metadata's in an earlier frame
    file = reopen_on(overlay, target.path)
    choice = BackendChoice("direct", "the file was begun with it")
    return Skeleton(file, overlay, datasets, dict(sources), dict(signed), choice)


def _check_there(begun: Collection[str], now: Collection[str]) -> None:
    """Refuse to go on without a dataset that all ranks were writing."""
    if lacking := sorted(set(begun) - set(now)):
        raise ResumeError(
            "what all ranks write must be the same as when the file was begun, and this dataset is too small for it "
            "now, or not there",
            where=lacking[0],
            remedy="Resume with the bulk_threshold that the file was begun with, or start anew (without --resume)",
        )


def _names_copies(name: str, signed: str) -> bool:
    """Tell whether a series names movies that the first job has brought beside the file: they stay where they are."""
    from parnwb.movies.names import are_placed

    return _names_movies(name) and are_placed(signed)


def _names_movies(name: str) -> bool:
    from parnwb.links.following import MOVIES

    return name.endswith(f"/{MOVIES}")


def leaves_movies(earlier: Earlier) -> bool:
    """Tell whether the file was begun with movies, all of which stay where they were. Independent."""
    begun: Mapping[str, str] = earlier.committed.description.get("signature", {})
    named = [name for name in begun if _names_movies(name)]
    return bool(named) and not any(_names_copies(name, begun[name]) for name in named)


def _without(signature: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in signature.items() if name not in names}


@dataclass(frozen=True)
class Described:
    """What is written, as a job that goes on with it has to know it.

    Parameters
    ----------
    sources
        Of the bulk datasets, by path.
    signature
        What must not have changed.
    """

    sources: Mapping[str, Source]
    signature: Mapping[str, str]


def describe(content: Content, manager: BuildManager, path: Path, options: AuthoringOptions) -> Described:
    """Describe an NWBFile, or what is exported, to be written at ``path``. Independent; on the root."""
    from parnwb.authoring.bulk import bulk_sources, signature
    from parnwb.authoring.export import build_content
    from parnwb.authoring.skeleton import own_error

    try:
        builder = build_content(content, manager, path, options.rule)
    except Exception as error:
        raise own_error(error) from error
    sources = gathered(bulk_sources(builder, options.rule), options.asking)
    return Described(sources, signature(builder, options.rule))


def done_chunks(layout: FileLayout, committed: Committed) -> dict[int, npt.NDArray[np.bool_]]:
    """Return which chunks of each dataset are safe, in C order of its chunk grid; not of those that grow. Independent.

    Raises
    ------
    ResumeError
        A record names a chunk that the layout does not have.
    """
    done = {}
    numbers = committed.records[:, 0]
    if len(numbers) and numbers.max() >= len(layout):
        raise ResumeError(f"the journal names dataset {numbers.max()} of {len(layout)}", remedy=REMEDY)
    for number, spec in enumerate(layout):
        positions = committed.records[numbers == number, 1]
        if len(positions) and spec.access != Access.GROWING:
            if positions.max() >= spec.grid.size:
                raise ResumeError(
                    f"the journal names chunk {positions.max()} of {spec.grid.size}", where=spec.path, remedy=REMEDY
                )
            done[number] = np.zeros(Hyperslab.whole(spec.grid.extent).size, dtype=bool)
            done[number][positions] = True
    return done


def check_committed(
    ranks: Ranks,
    target: Target,
    layout: FileLayout,
    earlier: Earlier | None,
    told: Meter,
    look_up: Callable[[], None],
) -> None:
    """Read every committed chunk of the partial file and refuse one that is not as it was written. Collective.

    A damaged chunk is not written again: HDF5's index has its address and length already, and another coder, or
    another release of the same one, may give it another length.

    Parameters
    ----------
    earlier
        What is resumed; looked at on the root only.
    told
        Is told of the bytes that are read.
    look_up
        Called between reads; may raise.

    Raises
    ------
    ResumeError
        Names the first damaged chunk, in the order of the layout, and how many there are.
    """
    own = own_share(ranks, earlier.committed.records if earlier is not None else no_records())
    nbytes = [int(n) for n in ranks.gather_all(own[:, 3].sum())]
    label = f"checking {target.partial.name}"
    with told.task(Started(str(target.path), "checking", label, sum(nbytes), ranks.size, ranks.host_names)):
        with ranks.agreed("checking what was committed"):
            bad = damaged(target.partial, own, look_up, Extrapolated(told, sum(nbytes), nbytes[ranks.rank]))
    found = ranks.gather_all((len(bad), min(bad[:, :2].tolist(), default=None)))
    count = sum(number for number, _ in found)
    if count:
        dataset, position = min(first for _, first in found if first is not None)
        spec = layout.datasets[dataset]
        raise ranks.known_to_all(
            ResumeError(
                f"the partial file is damaged: {count} of its committed chunks are not what was written, the first is "
                f"{_place(spec, position)}",
                where=str(target.partial),
                remedy="Check the disk, then start anew with overwrite=True (--overwrite)",
            )
        )


def _place(spec: DatasetSpec, position: int) -> str:
    if spec.access == Access.GROWING:  # the layout has the shape with which it began
        return f"chunk {position} of {spec.path}"
    return spec.grid.cell(spec.grid.index(position)).place(spec.path)


def _check_same(what: str, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for field in sorted({*begun, *now}):
        if begun.get(field) != now.get(field):
            raise ResumeError(
                f"{what} must be the same as when the file was begun: "
                f"it was {begun.get(field)!r}, now it is {now.get(field)!r}",
                where=field,
                remedy=REMEDY,
            )
