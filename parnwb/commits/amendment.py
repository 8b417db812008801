"""``Amendment``: the bytes of an existing file that an append changes in place, before and after, in a journal.

All that is new lies past the old end of the file, where no reader looks. What remains are a few places of HDF5's
metadata. They are recorded here first and then written; whoever opens the file next finishes what was interrupted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parnwb.commits.journal import Frame, Journal, frames, no_records
from parnwb.errors import ParnwbError, ResumeError
from parnwb.machine.striping import Striping
from parnwb.target import ExistingBytes, FileBytes, Target, sync_folder
from parnwb.target.process import Process

Extents = tuple[tuple[int, bytes], ...]


@dataclass(frozen=True)
class Amendment:
    """A change of a file that is safe once it is recorded.

    Parameters
    ----------
    before, after
        ``(address, bytes)`` of the same places, by address.
    end
        Bytes of the whole file.
    """

    before: Extents
    after: Extents
    end: int

    def record(self, path: Path) -> None:
        """Write a journal; from its last byte on the change is committed. Independent."""
        journal = Journal.create(path)
        try:
            journal.append(Frame({"amendment": "before"}, self.end, no_records(), self.before))
            journal.append(Frame({"amendment": "after"}, self.end, no_records(), self.after, complete=True))
        finally:
            journal.close()

    @classmethod
    def recorded(cls, path: Path) -> Amendment | None:
        """Return what a journal holds; None if it was not committed. Independent.

        Raises
        ------
        ResumeError
            It is another kind of journal.
        """
        found = [frame for frame, _ in frames(path)]
        if found and "amendment" not in found[0].description:
            raise ResumeError(
                "the journal beside the file is not that of an append",
                where=str(path),
                remedy="Give it back the name that it had",
            )
        if len(found) < 2 or not found[-1].complete:
            return None
        return cls(found[0].extents, found[-1].extents, found[-1].end)

    def fits(self, existing: ExistingBytes) -> bool:
        """Tell whether a file is as it was, as it will be, or between the two. Independent."""
        if existing.current_size() != self.end or len(self.before) != len(self.after):
            return False
        return all(
            address == place and _is_mixed(existing.read(address, len(new)), old, new)
            for (address, old), (place, new) in zip(self.before, self.after, strict=True)
        )

    def apply(self, path: Path) -> None:
        """Write what is new, HDF5's superblock last, and make it safe. Independent; can be repeated."""
        disk = FileBytes(path)
        try:
            for address, data in reversed(self.after):
                disk.write_at([data], address)
            disk.sync()
        finally:
            disk.close()


def _is_mixed(found: bytes, old: bytes, new: bytes) -> bool:
    seen, before, after = (np.frombuffer(item, dtype=np.uint8) for item in (found, old, new))
    return len(before) == len(after) and bool(((seen == before) | (seen == after)).all())


def journal_of(path: Path) -> Path:
    """Return where the journal of a file is, whatever link leads to the file; no partial file's has such a name."""
    return real(path).with_name(real(path).name + ".append.journal")


def real(path: Path) -> Path:
    """Return a file's own name, whatever link leads to it."""
    return Path(os.path.realpath(path))


def finish_append(path: Path) -> None:
    """Finish an append that was interrupted after its commit, if there is one. Independent; on the root, with the lock.

    Raises
    ------
    ResumeError
        Another program has changed the file since, or it is gone.
    TargetError
        The file is open elsewhere, or cannot be written to.
    """
    if not journal_of(path).exists():
        return
    if not path.exists():
        raise ResumeError(
            "an append to a file of this name was interrupted, and that file is not here any more",
            where=str(path),
            remedy=f"Put it back to have it finished, or remove {journal_of(path).name}",
        )
    existing = ExistingBytes(path, lock=True)
    try:
        _finish(path, existing)
    finally:
        existing.close()


def finish_append_alone(path: Path) -> None:
    """Do as ``finish_append`` where this process does not hold the lock of the file. Independent; on one rank.

    Raises
    ------
    ResumeError, TargetError
        As ``finish_append``; or the job that appends goes on.
    """
    if not journal_of(path).exists() or not path.exists():
        return
    target = Target(real(path))
    target.reserve([Process.this()])
    try:
        finish_append(path)
    finally:
        target.lock.release()


def _finish(path: Path, existing: ExistingBytes) -> None:
    journal = journal_of(path)
    amendment = Amendment.recorded(journal)
    if amendment is not None:
        if not amendment.fits(existing):
            raise ResumeError(
                "an append to this file was interrupted, and another program has changed the file since",
                where=str(path),
                remedy=f"If the file is as it should be, remove {journal.name} beside it",
            )
        amendment.apply(real(path))
    _forget(journal)


def _forget(journal: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        journal.unlink()
        sync_folder(journal.parent)


class AppendTarget(Target):
    """An existing file, to which ranks write past its end until one step changes it in place.

    Parameters
    ----------
    target
        The file's names; its lock goes on.
    existing
        Its bytes; on the root they are locked.
    lowest
        Where HDF5's allocation ended: nothing below changes before ``publish``.
    """

    def __init__(self, target: Target, existing: ExistingBytes, lowest: int) -> None:
        super().__init__(target.path)
        self.lock = target.lock
        self.partial, self.journal = real(target.path), journal_of(target.path)
        self.lowest = self.token_at = lowest
        self._existing = existing
        self._ours = existing.identity

    def check(self, *, overwrite: bool) -> None:
        """Do nothing: the file is open."""

    def create(self, striping: Striping | None = None) -> bytes:
        """Return what the file holds past its end from now on, by which other ranks recognise it.

        Parameters
        ----------
        striping
            Not looked at: the file is there.
        """
        token = os.urandom(16)
        disk = FileBytes(self.partial)
        try:
            disk.write_at([token], self.lowest)
        finally:
            disk.close()
        return token

    def seal(self, extents: Iterable[tuple[int, bytes]], end: int) -> None:
        """Write all that lies past the old end, make it safe, and commit what remains to be changed.

        Parameters
        ----------
        extents
            ``(address, bytes)`` that HDF5 wrote.
        end
            End of HDF5's allocation.

        Raises
        ------
        StorageError
            The file system refused; the file is as it was.
        """
        self.check_ours()
        self._existing.check()
        end = max(end, self.lowest)
        after = []
        disk = FileBytes(self.partial)
        try:
            for address, data in extents:
                within = max(0, min(len(data), self.lowest - address))
                if within:
                    after.append((address, data[:within]))
                disk.write_at([data[within:]], address + within)
            disk.truncate(end)
            disk.sync()
        finally:
            disk.close()
        before = tuple((address, self._existing.read(address, len(data))) for address, data in after)
        Amendment(before, tuple(after), end).record(self.journal)

    def publish(self, *, overwrite: bool = False) -> None:
        """Change the file in place, as committed; checksums of what it was go first."""
        self.check_ours()
        self.manifest.unlink(missing_ok=True)
        _finish(self.path, self._existing)

    def discard(self) -> None:
        """Leave the file as it was."""
        with contextlib.suppress(ParnwbError, OSError):
            self.check_ours()
            _forget(self.journal)
            disk = FileBytes(self.partial)
            try:
                disk.truncate(self._existing.size)
            finally:
                disk.close()
