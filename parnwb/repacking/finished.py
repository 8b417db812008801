"""Which files of several an earlier job has finished, from sources that are still the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from parnwb.errors import ResumeError
from parnwb.restore import fingerprints
from parnwb.target import Target, tell_nobody

if TYPE_CHECKING:
    from parnwb.rewriting.rewriting import Rewriting


def finished(
    contents: Mapping[Path, Callable[[ExitStack], Rewriting]], step: Callable[[str], None] = tell_nobody
) -> set[Path]:
    """Return which files an earlier job has finished. Independent; on the root.

    Of a finished file no journal is left that could tell what it was made from. So it has to be younger than all that
    it is made from, and to hold what would be written now, by its objects and by a sample of its values.

    Parameters
    ----------
    contents
        By its path, what each file is to hold.
    step
        Is told which file is looked at: there may be hundreds.

    Raises
    ------
    ResumeError
        A file is there that may be made from something else.
    """
    done = set()
    for path, content in contents.items():
        if Target(path).is_complete:
            step(f"comparing {path.name} with what it is made from")
            with ExitStack() as files:
                _check_made_from(path, content(files), files)
            done.add(path)
    return done


def _check_made_from(path: Path, content: Rewriting, files: ExitStack) -> None:
    made = path.stat().st_mtime_ns
    # One that was moved to its place, or given a time, has changed when its inode did.
    younger = [name for name in content.found.files if max(_times(name)) >= made]
    if younger:
        raise _other(path, f"{younger[0]} has changed since it was written")
    if different := _difference(path, content, files):
        raise _other(path, f"it differs in {different}")


def _times(name: str) -> tuple[int, int]:
    status = os.stat(name)
    return status.st_mtime_ns, status.st_ctime_ns


def _difference(path: Path, content: Rewriting, files: ExitStack) -> str:
    """Return the first path at which a file does not hold what would be written; empty if there is none."""
    from parnwb.layout import FileLayout
    from parnwb.repacking.run import opened_source
    from parnwb.rewriting.rewriting import source_of
    from parnwb.rewriting.survey import Scope, survey
    from parnwb.sources.raw_chunks import read_spec

    there = survey(opened_source(path, files), Scope(), files)
    expected = {item.path: item.filename for item in content.found.items}
    found = {item.path: item.filename for item in there.items}
    if differing := sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name)):
        return differing[0]
    bulk = {item.path: (item.dataset, there.file[item.path]) for item in content.found.bulk}
    for name, (old, new) in bulk.items():
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            return name
    layout = FileLayout(tuple(read_spec(bulk[name][0]) for name in sorted(bulk)))
    places = {name: source_of(new) for name, (_, new) in bulk.items()}
    before, now = fingerprints(layout, content.sources), fingerprints(layout, places)
    return next((name for name in before if before[name] != now[name]), "")


def _other(path: Path, why: str) -> ResumeError:
    return ResumeError(
        f"a file that an earlier job has finished must be made from the source as it is now: {why}",
        where=str(path),
        remedy="Remove it if it is of no use, or begin anew with overwrite=True (--overwrite)",
    )
