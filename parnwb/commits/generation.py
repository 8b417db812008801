"""A new generation of the partial file: what was committed, in files that no process of a lost job has open.

A node that was lost may come back and finish its writes at any time, even when the file has its final name. They go to
the file that it had opened, so the only sure place for the work of the next job is another one.
"""

from __future__ import annotations

import os

from parnwb.comm import Ranks
from parnwb.commits.journal import Committed, Records, crc32c, no_records, replay
from parnwb.commits.stored import own_share
from parnwb.errors import StorageError
from parnwb.machine import storage
from parnwb.machine.striping import striping_of
from parnwb.target import MAX_CALL_BYTES, FileBytes, Target, sync_folder
from parnwb.target.permissions import Permissions, create_file

SYNC_BYTES = 1 << 30


def renew(ranks: Ranks, target: Target, committed: Committed | None, *, root_alone: bool = False) -> None:
    """Copy the committed chunks and the journal to new files, and put these in the place of the old. Collective.

    All ranks copy, and every chunk is compared with the checksum that was committed. Whenever the job ends in here,
    either both old files are still there, or the next job does this again.

    Parameters
    ----------
    committed
        What is to be kept; on the root.
    root_alone
        Whether other hosts must not write to these files.

    Raises
    ------
    StorageError
        There is no room for both, or a chunk is not what was committed.
    """
    with ranks.agreed("beginning a new generation"):
        if committed is not None:
            target.lock.check_ours()
            _remove(target)  # what is left of a job that ended in here takes the room that is needed
            target.require_space(int(committed.records[:, 3].sum()))
            _create(target)
    kept = committed.records if committed is not None else no_records()
    own = kept if root_alone else own_share(ranks, kept)
    with ranks.agreed("copying what was committed"):
        _copy(ranks, target, own)
    with ranks.agreed("changing to the new generation"):
        if committed is not None:
            _copy_journal(target, committed)
            target.lock.check_ours()
            os.replace(target.next_journal, target.journal)
            os.replace(target.next_partial, target.partial)
            sync_folder(target.path.parent)
            target.forget_lost()


def _remove(target: Target) -> None:
    for path in (target.next_partial, target.next_journal):
        path.unlink(missing_ok=True)


def _create(target: Target) -> None:
    """Create both files, on Lustre the new partial file spread as the old one: perhaps not as the folder has it."""
    like = Permissions.of(target.partial)
    on_lustre = storage.kind_of(storage.file_system(target.path.parent)) is storage.LUSTRE
    os.close(create_file(target.next_partial, like, striping_of(target.partial) if on_lustre else None))
    os.close(create_file(target.next_journal, like))


def _copy(ranks: Ranks, target: Target, records: Records) -> None:
    """Copy these chunks. Independent."""
    old, new = FileBytes(target.partial), FileBytes(target.next_partial)
    unsafe = 0
    try:
        for _, _, address, nbytes, _, checksum in records.tolist():
            ranks.look_up()
            data = old.read_at(nbytes, address)
            if len(data) != nbytes or crc32c(data) != checksum:
                raise StorageError(
                    f"{nbytes} bytes at byte {address} are not those that were committed",
                    where=str(target.partial),
                    remedy="The disk or a lost job has damaged them: start anew with overwrite=True (--overwrite)",
                )
            new.write_at([data], address)
            unsafe += nbytes
            if unsafe >= SYNC_BYTES:  # one fsync of a terabyte would look like a rank that has stopped
                new.sync()
                unsafe = 0
        new.sync()
    finally:
        old.close()
        new.close()


def _copy_journal(target: Target, committed: Committed) -> None:
    old, new = FileBytes(target.journal), FileBytes(target.next_journal)
    try:
        for position in range(0, committed.size, MAX_CALL_BYTES):
            new.write_at([old.read_at(min(MAX_CALL_BYTES, committed.size - position), position)], position)
        new.sync()
    finally:
        old.close()
        new.close()
    if replay(target.next_journal).sequence != committed.sequence:
        raise StorageError("the journal was changed while it was copied", where=str(target.journal), remedy="Try again")
