"""What may be on disk after the power has failed: a simulator that is as unkind as a file system may be.

It replays a log of calls. Of a file, what was there at its last `fsync` is there; of what was written since then, any
page may have come to the disk or not, in any version that it had, and the size may be any that the file had. Of names,
what the folder had at its own last `fsync` is there; of what was done since then, any part.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from failure.calls import Call

PAGE = 4096


@dataclass
class File:
    """One file, whatever its name: its bytes now, and all that may be found of it."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    versions: dict[int, list[bytes]] = field(default_factory=dict)  # since the last fsync, by page
    sizes: list[int] = field(default_factory=lambda: [0])
    written: bool = False

    @classmethod
    def safe(cls, content: bytes) -> File:
        """Return a file that was on disk before."""
        return cls(bytearray(content), content, {}, [len(content)])

    def write(self, address: int, data: bytes) -> None:
        if len(self.content) < address + len(data):
            self.content.extend(bytes(address + len(data) - len(self.content)))
        self.content[address : address + len(data)] = data
        self._changed(address, address + len(data))

    def truncate(self, size: int) -> None:
        before = len(self.content)
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))
        self._changed(min(size, before), max(size, before))

    def sync(self) -> None:
        self.durable = bytes(self.content)
        self.versions.clear()
        self.sizes = [len(self.content)]
        self.written = False

    def _changed(self, low: int, high: int) -> None:
        self.written = True
        self.sizes.append(len(self.content))
        for page in range(low // PAGE, -(-high // PAGE)):
            old = self.versions.setdefault(page, [padded(self.durable, page)])
            old.append(padded(self.content, page))

    def after_a_crash(self, rng: random.Random, kindness: float) -> bytes:
        """Return what may be found; the kinder, the more of what is new."""
        if rng.random() < 0.25:  # written back in order, up to somewhere
            cut = rng.choice(sorted(self.versions)) if self.versions else 0
            chosen = {page: list_[-1] if page < cut else list_[0] for page, list_ in self.versions.items()}
            size = self.sizes[-1]
        else:
            chosen = {
                page: list_[-1] if rng.random() < kindness else rng.choice(list_)
                for page, list_ in self.versions.items()
            }
            size = self.sizes[-1] if rng.random() < 0.5 else rng.choice(self.sizes)
        pages = -(-max(size, len(self.durable)) // PAGE)
        whole = b"".join(chosen.get(page, padded(self.durable, page)) for page in range(pages))
        return whole[:size].ljust(size, b"\0")


def padded(content: bytes | bytearray, page: int) -> bytes:
    return bytes(content[page * PAGE : (page + 1) * PAGE]).ljust(PAGE, b"\0")


@dataclass(frozen=True)
class Change:
    """One change of the names in a folder; a rename is one, and done whole or not at all."""

    gone: str | None
    here: str | None
    file: File


class Disk:
    """A folder of files as calls change it.

    Parameters
    ----------
    files
        What is on disk before, safely, by path.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.names = {name: File.safe(content) for name, content in files.items()}
        self._durable = dict(self.names)
        self._pending: list[Change] = []

    def make(self, call: Call) -> None:
        """Change what a call changes."""
        if call.kind == "create":
            self._rename(Change(None, call.path, File()))
        elif call.kind == "unlink":
            self._rename(Change(call.path, None, self.names[call.path]))
        elif call.kind == "replace":
            self._rename(Change(call.path, call.to, self.names[call.path]))
        elif call.kind == "link":
            self._rename(Change(None, call.to, self.names[call.path]))
        elif call.kind == "sync folder":
            self._durable = dict(self.names)
            self._pending.clear()
        elif call.kind == "write":
            self.names[call.path].write(call.address, call.data)
        elif call.kind == "truncate":
            self.names[call.path].truncate(call.address)
        elif call.kind == "sync":
            self.names[call.path].sync()
        else:
            assert call.kind == "open", call

    def _rename(self, change: Change) -> None:
        self._pending.append(change)
        _apply(change, self.names)

    def after_a_crash(self, rng: random.Random) -> dict[str, bytes]:
        """Return the files that may be found, by path."""
        kindness = rng.choice([0.0, 0.1, 0.5, 0.9, 0.98, 1.0])
        names = dict(self._durable)
        in_order = rng.random() < 0.5
        count = rng.randint(0, len(self._pending))
        for number, change in enumerate(self._pending):
            if number < count if in_order else rng.random() < 0.5:
                _apply(change, names)
        return {name: file.after_a_crash(rng, kindness) for name, file in names.items()}


def _apply(change: Change, names: dict[str, File]) -> None:
    if change.gone is not None:
        names.pop(change.gone, None)
    if change.here is not None:
        names[change.here] = change.file
