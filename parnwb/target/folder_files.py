"""``FolderFiles``: the files that one rank writes into the partial folder of a store."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from parnwb.errors import StorageError
from parnwb.target.disk import NO_FOLDER_SYNC

FULL = {
    errno.ENOSPC: "The file system is full, or has no room for more files: free some, or choose another folder",
    errno.EDQUOT: "The quota, of bytes or of files, is used up: free some, or choose another folder",
}
SOME_FILES = 100


class FolderFiles:
    """One rank's files in the partial folder. Independent.

    Each is opened below the folder that was opened once: a folder that another job has made anew under its name is not
    written to.

    Parameters
    ----------
    path
        The partial folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: deque[tuple[str, str]] = deque()
        self._folders: set[str] = set()
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise self._failed("opening", "", error) from error

    def make_folders(self, names: Iterable[str]) -> None:
        """Create folders, and those in which they lie.

        Parameters
        ----------
        names
            Relative to the partial folder.
        """
        for name in names:
            parts = [part for part in name.split("/") if part]
            for end in range(1, len(parts) + 1):
                below = "/".join(parts[:end])
                try:
                    os.mkdir(below, dir_fd=self._descriptor)
                except FileExistsError:
                    pass
                except OSError as error:
                    raise self._failed("making", below, error) from error

    def write(self, folder: str, files: Sequence[tuple[str, Any]]) -> None:
        """Write whole files into one folder, which is there.

        Parameters
        ----------
        folder
            Relative to the partial folder; ``''`` for itself.
        files
            Name and bytes of each.

        Raises
        ------
        StorageError
            The file system refuses; the file and its reason are named.
        """
        name = folder
        try:
            below = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._descriptor)
            try:
                for name, data in files:
                    _write_file(name, memoryview(data).cast("B"), below)
            finally:
                os.close(below)
        except OSError as error:
            raise self._failed("writing", f"{folder}/{name}".lstrip("/"), error) from error
        self._written.extend((folder, name) for name, _ in files)
        self._folders.add(folder)

    def sync(self) -> None:
        """Make all files safe that were written since the last time. A failure is final."""
        for _ in self.syncing():
            pass

    def syncing(self) -> Iterator[str]:
        """Do as ``sync``, and iterate over the names of files and folders that come next: each takes its time."""
        while self._written:
            yield "/".join(self._written[0]).lstrip("/")
            self._sync_oldest()
        while self._folders:
            folder = next(iter(self._folders))
            yield folder or "the store's folder"
            self._sync(folder or ".")
            self._folders.remove(folder)

    def sync_some(self) -> None:
        """Make some files safe, the oldest: what the kernel has written by itself already takes no time."""
        for _ in range(min(SOME_FILES, len(self._written))):
            self._sync_oldest()

    @property
    def unsafe(self) -> int:
        """How many files have been written and not made safe."""
        return len(self._written)

    def _sync_oldest(self) -> None:
        self._sync("/".join(self._written[0]).lstrip("/"))
        self._written.popleft()

    def _sync(self, name: str) -> None:
        try:
            self._fsync(name)
        except OSError as error:
            raise self._failed("fsync", name, error) from error

    def _fsync(self, name: str) -> None:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._descriptor)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if not (os.path.isdir(descriptor) and error.errno in NO_FOLDER_SYNC):
                raise
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the folder."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _failed(self, doing: str, name: str, error: OSError) -> StorageError:
        return StorageError(
            f"{doing} {name or 'the folder'} failed: {error.strerror}",
            where=str(self._path),
            remedy=FULL.get(error.errno or 0, "Check the file system"),
        )


def _write_file(name: str, data: memoryview, folder: int) -> None:
    """Write all of ``data`` to a new file, however often that takes. Independent."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666, dir_fd=folder)
    try:
        while len(data):
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)
