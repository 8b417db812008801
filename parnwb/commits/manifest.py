"""``Manifest``: the checksums of all that a finished file holds, in a file ``OUT.nwb.crc`` beside it.

All numbers are little-endian:

| bytes | what |
|---|---|
| 8 | the mark ``parnwbC1`` |
| 8 | length of the text that follows |
| that many | JSON: ``file`` (name), ``size`` (bytes), ``object_id`` (of the NWBFile), ``records`` (their number) and
  ``datasets``, a list of ``path``, ``shape`` and ``cell``, the shape of a chunk |
| 48 each | records: six integers of 8 bytes |
| 4 | CRC-32C of everything before |

A record is (dataset, position, address, stored bytes, filter mask, CRC-32C of the stored bytes). ``dataset`` counts
from 0 in ``datasets`` and ``position`` is that of the chunk in the grid of chunks, in C order; contiguous datasets are
cut into cells that lie in one run of the file each. Dataset -1 is all else that HDF5 has written, run by run: metadata
and small datasets.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parnwb.commits.journal import LIMIT, RECORD_COLUMNS, Records, crc32c, no_records
from parnwb.errors import ParnwbError, StorageError, VerificationError
from parnwb.hyperslab import ravel
from parnwb.layout import ChunkGrid, FileLayout
from parnwb.target import FileBytes, sync_folder

MARK = b"parnwbC1"
LENGTH = struct.Struct("<Q")
CHECK = struct.Struct("<I")
METADATA = -1
Datasets = tuple[tuple[str, ChunkGrid], ...]


@dataclass(frozen=True, eq=False)
class Manifest:
    """What a file must hold.

    Parameters
    ----------
    file
        Its name when it was written; it may have been renamed since.
    size
        Its bytes.
    object_id
        Of its NWBFile.
    datasets
        Path and chunks of each bulk dataset.
    records
        One row for each chunk, and for each run of metadata.
    """

    file: str
    size: int
    object_id: str
    datasets: Datasets
    records: Records

    def write(self, path: Path) -> None:
        """Write it as a new file and make it safe; one that is there is replaced. Independent.

        Raises
        ------
        StorageError
            The file system refuses.
        """
        head = {
            "file": self.file,
            "size": self.size,
            "object_id": self.object_id,
            "records": len(self.records),
            "datasets": [{"path": name, "shape": grid.shape, "cell": grid.chunk} for name, grid in self.datasets],
        }
        text = json.dumps(head).encode()
        rows = np.ascontiguousarray(self.records, dtype="<i8").tobytes()
        content = b"".join([MARK, LENGTH.pack(len(text)), text, rows])
        try:
            path.unlink(missing_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except OSError as error:
            raise StorageError(f"the checksums cannot be written: {error.strerror}", where=str(path)) from error
        disk = FileBytes(path)
        try:
            disk.write_at([content, CHECK.pack(crc32c(content))], 0)
            disk.sync()
        finally:
            disk.close()
        sync_folder(path.parent)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Return the manifest in a file. Independent.

        Raises
        ------
        VerificationError
            It cannot be read, is damaged, or is something else.
        """
        remedy = "Remove it to verify the file without checksums"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise VerificationError(
                f"the checksums cannot be read: {error.strerror}", where=str(path), remedy=remedy
            ) from error
        if content[: len(MARK)] != MARK or content[-CHECK.size :] != CHECK.pack(crc32c(content[: -CHECK.size])):
            raise VerificationError("the checksums are damaged themselves", where=str(path), remedy=remedy)
        try:
            return cls._parsed(content)
        except (ValueError, TypeError, KeyError, OverflowError, ParnwbError, struct.error) as error:
            raise VerificationError(
                f"the checksums make no sense: {error}", where=str(path), remedy=remedy
            ) from error

    @classmethod
    def _parsed(cls, content: bytes) -> Manifest:
        (length,) = LENGTH.unpack_from(content, len(MARK))
        begin = len(MARK) + LENGTH.size
        head = json.loads(content[begin : begin + length])
        datasets = tuple(
            (item["path"], ChunkGrid(tuple(item["shape"]), tuple(item["cell"]))) for item in head["datasets"]
        )
        end = len(content) - CHECK.size
        rows = np.frombuffer(content[:end], "<i8", offset=begin + length).reshape(-1, RECORD_COLUMNS)
        if len(rows) != head["records"] or not isinstance(head["size"], int):
            raise ValueError("its parts do not add up to its length")
        for number, (path, grid) in enumerate(datasets):
            if (rows[rows[:, 0] == number, 1] >= grid.size).any() or not isinstance(path, str):
                raise ValueError(f"a chunk that {path} does not have")
        if len(rows) and not (
            METADATA <= rows[:, 0].min() and rows[:, 0].max() < len(datasets)
            and 0 <= rows[:, 1:].min() and rows[:, 1:].max() < LIMIT
        ):
            raise ValueError("a number of a record is out of range")
        return cls(str(head["file"]), head["size"], str(head["object_id"]), datasets, rows.astype(np.int64))


def manifest_of(
    name: str,
    object_id: str,
    layout: FileLayout,
    chunks: Records,
    extents: Iterable[tuple[int, bytes]],
    size: int,
) -> Manifest:
    """Return the manifest of a file that has just been written. Independent.

    Parameters
    ----------
    name, object_id, size
        Of the file.
    layout
        Its bulk datasets.
    chunks
        Records of all their chunks, by whichever attempt.
    extents
        ``(address, bytes)`` of all else that was written.
    """
    others = [
        (METADATA, number, address, len(data), 0, crc32c(data)) for number, (address, data) in enumerate(extents)
    ]
    rest = np.array(others, dtype=np.int64).reshape(-1, RECORD_COLUMNS) if others else no_records()
    datasets = tuple((spec.path, ChunkGrid(spec.shape, spec.grid.chunk)) for spec in layout)
    return Manifest(name, size, object_id, datasets, np.concatenate([in_c_order(chunks, layout), rest]))


def in_c_order(records: Records, layout: FileLayout) -> Records:
    """Return records whose positions are those of C order, whatever the axis along which datasets grew. Independent."""
    turned = records.copy()
    for number, spec in enumerate(layout):
        if spec.major:
            rows = np.flatnonzero(records[:, 0] == number)
            turned[rows, 1] = [ravel(spec.grid.index(int(n)), spec.grid.extent) for n in records[rows, 1]]
    return turned
