"""``Journal``: what has been committed, in a file of its own beside the partial one; append-only.

A frame is a header (mark, sequence, length, checksums) and a payload: a JSON description, the records of the chunks
that became safe since the frame before, and the bytes that HDF5 wrote since then. A frame counts when it is whole; the
frames up to the first that is not, replayed in order, are the last commit. Each checksum goes on from that of the frame
before, so that frames of different jobs do not fit together. Nothing in it is ever executed or unpickled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from parnwb.errors import ResumeError, StorageError
from parnwb.overlay import Overlay
from parnwb.target import FileBytes, sync_folder
from parnwb.target.permissions import Permissions, create_file

MARK = b"parnwbJ1"
# Mark, sequence, bytes of the payload, CRC-32C of the payload, CRC-32C of these fields.
PREFIX = struct.Struct("<8sQQI")
CHECK = struct.Struct("<I")
RECORD_COLUMNS = 6  # dataset, position in the chunk grid, address, stored bytes, filter mask, CRC-32C
LIMIT = 1 << 62  # of every number in a frame: sums of two of them fit into 64 bits
Records = npt.NDArray[np.int64]


# Describes the frame that every job writes when all its chunks are there, whether or not it had to commit before.
CLOSING = {"closing": True}


def no_records() -> Records:
    """Return an empty table of records."""
    return np.empty((0, RECORD_COLUMNS), dtype=np.int64)


def crc32c(data: Any, before: int = 0) -> int:
    """Return the CRC-32C of bytes, after others whose checksum was ``before``."""
    from crc32c import crc32c as checksum

    return int(checksum(data, before))


@dataclass(frozen=True)
class StreamState:
    """How far a stream had come at a commit.

    Parameters
    ----------
    rows
        All rows that were appended.
    first_open
        Position of the first chunk that was not whole: no record counts from there on.
    tail
        Bytes of the rows in chunks that were not whole, in C order and the stream's own dtype.
    """

    rows: int
    first_open: int
    tail: bytes = b""


def no_streams() -> Mapping[int, StreamState]:
    """Return the states of no streams."""
    return {}


@dataclass(frozen=True)
class Frame:
    """One commit.

    Parameters
    ----------
    description
        Plain values: who wrote it, and in the first frame all that a resuming job must agree with.
    end
        End of HDF5's allocation.
    records
        Chunks that became safe since the last frame, one row each.
    extents
        ``(address, bytes)`` that HDF5 wrote since the last frame.
    complete
        Whether all data are there, so that only the extents remain to be applied.
    streams
        By number of a dataset, all streams that are open; none where they are as in the frame before.
    """

    description: dict[str, Any]
    end: int
    records: Records
    extents: tuple[tuple[int, bytes], ...]
    complete: bool = False
    streams: Mapping[int, StreamState] = field(default_factory=no_streams)

    def to_bytes(self) -> list[bytes]:
        """Return the payload in pieces."""
        head = {
            "description": self.description,
            "end": self.end,
            "complete": self.complete,
            "records": len(self.records),
            "extents": [[address, len(data)] for address, data in self.extents],
            "streams": [[number, it.rows, it.first_open, len(it.tail)] for number, it in self.streams.items()],
        }
        text = json.dumps(head).encode()
        rows = np.ascontiguousarray(self.records, dtype="<i8").tobytes()
        tails = [state.tail for state in self.streams.values()]
        return [CHECK.pack(len(text)), text, rows, *(data for _, data in self.extents), *tails]

    @classmethod
    def from_bytes(cls, payload: bytes) -> Frame:
        """Return the frame of a payload whose checksum was right.

        Raises
        ------
        ResumeError
            Its numbers do not fit together: another program wrote it.
        """
        try:
            return cls._parsed(payload)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError, struct.error) as error:
            raise ResumeError(
                f"a commit in the journal makes no sense, though its checksum is right: {error}",
                remedy="Another version or program wrote it: start anew with overwrite=True (--overwrite)",
            ) from error

    @classmethod
    def _parsed(cls, payload: bytes) -> Frame:
        (length,) = CHECK.unpack_from(payload)
        head = json.loads(payload[CHECK.size : CHECK.size + length])
        description, end, count, places = head["description"], head["end"], head["records"], head["extents"]
        streams = head["streams"]
        numbers = [end, count, *(number for row in (*places, *streams) for number in row)]
        if not all(type(number) is int and 0 <= number < LIMIT for number in numbers):
            raise ValueError("a number is out of range")
        position = CHECK.size + length
        size = count * RECORD_COLUMNS * 8
        rest = sum(n for _, n in places) + sum(n for *_, n in streams)
        if not isinstance(description, dict) or position + size + rest != len(payload):
            raise ValueError("its parts do not add up to its length")
        rows = np.frombuffer(payload, dtype="<i8", count=size // 8, offset=position).reshape(-1, RECORD_COLUMNS)
        if len(rows) and not (0 <= rows.min() and rows.max() < LIMIT):
            raise ValueError("a number of a record is out of range")
        position += size
        extents = []
        for address, nbytes in places:
            extents.append((address, payload[position : position + nbytes]))
            position += nbytes
        states = {}
        for number, appended, first_open, nbytes in streams:
            states[number] = StreamState(appended, first_open, payload[position : position + nbytes])
            position += nbytes
        return cls(description, end, rows.astype(np.int64), tuple(extents), head["complete"] is True, states)


@dataclass(frozen=True)
class Committed:
    """The state that a journal's valid frames add up to.

    Parameters
    ----------
    description
        Of the first frame.
    end
        End of allocation at the last commit.
    records
        All safe chunks.
    extents
        All that HDF5 wrote, by address: of what it wrote several times, the last.
    complete
        Whether only the extents remain to be applied.
    size
        Bytes of the journal that are valid.
    sequence
        Number of valid frames.
    checksum
        Of the last of them, which goes on from those before.
    streams
        By number of a dataset, how far each stream had come.
    """

    description: dict[str, Any]
    end: int
    records: Records
    extents: tuple[tuple[int, bytes], ...]
    complete: bool
    size: int
    sequence: int
    checksum: int
    streams: Mapping[int, StreamState] = field(default_factory=no_streams)


@dataclass
class Journal:
    """An open journal; on the root only. Independent."""

    path: Path
    _disk: FileBytes = field(repr=False)
    _end: int
    _sequence: int
    _checksum: int

    @classmethod
    def create(cls, path: Path, like: Permissions | None = None) -> Journal:
        """Begin a new journal, with permissions like another file's; one that is there is lost.

        Raises
        ------
        StorageError
            The file system refused.
        """
        try:
            path.unlink(missing_ok=True)
            os.close(create_file(path, like))
        except OSError as error:
            raise StorageError(
                f"the journal could not be begun: {error.strerror}", where=str(path), remedy="Check the file system"
            ) from error
        sync_folder(path.parent)
        return cls(path, FileBytes(path), 0, 0, 0)

    @classmethod
    def reopen(cls, path: Path, committed: Committed) -> Journal:
        """Go on after the last valid frame; what came after it is cut off.

        The cut is made safe: were it forgotten, frames of a damaged journal could follow those that come now.
        """
        disk = FileBytes(path)
        disk.truncate(committed.size)
        disk.sync()
        return cls(path, disk, committed.size, committed.sequence, committed.checksum)

    def append(self, frame: Frame) -> None:
        """Write a frame and make it safe. After an error it does not count, and none before is harmed.

        A frame whose fsync has failed looks whole for as long as the kernel remembers it, and then no more; so it is
        cut off at once.

        Raises
        ------
        StorageError
            The file system refused.
        """
        pieces = frame.to_bytes()
        checksum = self._checksum
        for piece in pieces:
            checksum = crc32c(piece, checksum)
        prefix = PREFIX.pack(MARK, self._sequence, sum(len(piece) for piece in pieces), checksum)
        header = prefix + CHECK.pack(crc32c(prefix))
        try:
            self._disk.write_at([header, *pieces], self._end)
            self._disk.sync()
        except StorageError:
            with contextlib.suppress(StorageError):  # where even this fails it may count, which does no harm
                self._disk.truncate(self._end)
            raise
        self._end += len(header) + sum(len(piece) for piece in pieces)
        self._sequence += 1
        self._checksum = checksum

    def close(self) -> None:
        """Close the file, which stays."""
        self._disk.close()


def frames(path: Path) -> Iterator[tuple[Frame, int]]:
    """Iterate over the valid frames of a journal and the position after each. Independent.

    Raises
    ------
    StorageError
        It cannot be read.
    """
    return ((frame, end) for frame, end, _ in _chain(path))


def _chain(path: Path) -> Iterator[tuple[Frame, int, int]]:
    """Iterate over the valid frames, the position after each, and the checksum from which the next goes on."""
    try:
        with path.open("rb") as file:
            yield from _whole_frames(file)
    except OSError as error:
        raise StorageError(
            f"the journal cannot be read: {error.strerror}", where=str(path), remedy="Check the file system"
        ) from error


def _whole_frames(file: BinaryIO) -> Iterator[tuple[Frame, int, int]]:
    header_size = PREFIX.size + CHECK.size
    size = os.fstat(file.fileno()).st_size
    end, sequence, before = 0, 0, 0
    while True:
        header = file.read(header_size)
        if len(header) < header_size:
            return
        mark, number, length, checksum = PREFIX.unpack_from(header)
        (check,) = CHECK.unpack_from(header, PREFIX.size)
        if mark != MARK or number != sequence or check != crc32c(header[: PREFIX.size]):
            return
        if length > size - end - header_size:
            return
        payload = file.read(length)
        if len(payload) < length or checksum != crc32c(payload, before):
            return
        end += header_size + length
        sequence += 1
        before = checksum
        yield Frame.from_bytes(payload), end, checksum


def replay(path: Path) -> Committed:
    """Return the last commit. Independent.

    Raises
    ------
    ResumeError
        There is no journal, or not one whole frame in it.
    """
    if not path.is_file():
        raise ResumeError(
            "there is nothing to resume: no journal beside the output",
            where=str(path),
            remedy="Start anew (without --resume)",
        )
    description: dict[str, Any] = {}
    sequence, records, written, streams = 0, [], Overlay(), no_streams()
    for whole in _chain(path):
        description = description if sequence else whole[0].description
        sequence += 1
        records.append(whole[0].records)
        written.add(whole[0].extents)
        streams = whole[0].streams or streams
    if not sequence:
        raise ResumeError(
            "the journal holds no whole commit: it is damaged, or the job ended before its first",
            where=str(path),
            remedy="Start anew (without --resume)",
        )
    last, size, checksum = whole
    return Committed(
        description=description,
        end=last.end,
        records=_latest(np.concatenate(records), streams),
        extents=tuple(written.extents()),
        complete=last.complete,
        size=size,
        sequence=sequence,
        checksum=checksum,
        streams=streams,
    )


def _latest(records: Records, streams: Mapping[int, StreamState]) -> Records:
    """Return the records that count: of chunks that a resumed stream has written anew, the last."""
    if not streams:
        return records
    _, first = np.unique(records[::-1, :2], axis=0, return_index=True)
    return records[np.sort(len(records) - 1 - first)]


def without_open_chunks(committed: Committed) -> Committed:
    """Return what a resuming job may take as done: not the chunks at the ends of streams, which rows may follow.

    Independent. Their rows are in ``streams``.
    """
    records = committed.records
    for number, state in committed.streams.items():
        records = records[(records[:, 0] != number) | (records[:, 1] < state.first_open)]
    return dataclasses.replace(committed, records=records)


def committed_records(path: Path) -> Records:
    """Return the records of all chunks that a journal makes safe, by whichever attempt. Independent."""
    records, streams = [no_records()], no_streams()
    for frame, _ in frames(path):
        records.append(frame.records)
        streams = frame.streams or streams
    return _latest(np.concatenate(records), streams)


def check_covered(partial: Path, committed: Committed) -> None:
    """Refuse a partial file that is shorter than its committed chunks. Independent.

    Raises
    ------
    StorageError
        Bytes are missing.
    """
    records = committed.records
    needed = int((records[:, 2] + records[:, 3]).max()) if len(records) else 0
    if not partial.is_file():
        raise StorageError(
            f"the partial file is missing, of which {needed} bytes were committed",
            where=str(partial),
            remedy="It was moved or removed since: put it back, or start anew (without --resume)",
        )
    size = partial.stat().st_size
    if size < needed:
        raise StorageError(
            f"the partial file is shorter ({size} bytes) than what was committed ({needed} bytes)",
            where=str(partial),
            remedy="It was truncated or replaced since: start anew with overwrite=True (--overwrite)",
        )
