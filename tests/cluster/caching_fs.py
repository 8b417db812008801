"""A network file system of clients as careless as they may be. Arguments: folder behind it, mount point, its type.

Each mount is a client: it keeps whole pages of a file that is written to, and gives them back whole when the file is
synced or closed; what another client has put beside those bytes meanwhile is lost. It speaks the kernel's FUSE protocol
itself, so that tests need no library for it. It says "up" when it is mounted, and ends when its standard input does.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import sys
from collections.abc import Callable

PAGE = 65536
MOST = 128 * 1024
MNT_DETACH = 2
DIRECT_IO = 1  # the kernel is to keep nothing itself
MODE, UID, GID, SIZE, BY_HANDLE = 1, 2, 4, 8, 64
HEADER, ENTRY, OPENED = struct.Struct("<IIQQIIIHH"), struct.Struct("<QQQQII"), struct.Struct("<QII")
ATTRIBUTES = struct.Struct("<6Q10I")
NO_REPLY = (2, 36, 42)  # forget, interrupt, forget many
libc = ctypes.CDLL(None, use_errno=True)


class Client:
    """One mount.

    Parameters
    ----------
    folder
        Behind it.
    """

    def __init__(self, folder: str) -> None:
        self._paths = {1: folder}
        self._numbers = {folder: 1}
        self._pages: dict[int, dict[int, bytearray]] = {}  # by inode
        self._sizes: dict[int, int] = {}
        self.answers: dict[int, Callable[[int, bytes], bytes]] = {
            1: lambda node, data: self._entry(self._path(node, data)),
            3: self._get_attributes,
            4: self._set_attributes,
            9: lambda node, data: self._made(node, data[8:], lambda path: os.mkdir(path, _numbers(data, "<I")[0])),
            10: lambda node, data: self._removed(self._path(node, data), os.unlink),
            11: lambda node, data: self._removed(self._path(node, data), os.rmdir),
            12: lambda node, data: self._renamed(node, data, 8),
            13: self._link,
            14: lambda node, data: self._opened(os.open(self._paths[node], _access(_numbers(data, "<I")[0]))),
            15: self._read,
            16: self._write,
            17: self._statfs,
            18: lambda node, data: self._closed(*_numbers(data, "<Q")),
            20: lambda node, data: self._flushed(*_numbers(data, "<Q"), sync=True),
            25: lambda node, data: self._flushed(*_numbers(data, "<Q")),
            26: lambda node, data: struct.pack("<4I2H2I2H8I", 7, 31, MOST, 8 | 32, 12, 9, MOST, 1, 32, *[0] * 9),
            27: lambda node, data: OPENED.pack(0, 0, 0),
            28: self._read_folder,
            29: lambda node, data: b"",
            30: lambda node, data: b"",
            35: self._create,
            45: lambda node, data: self._renamed(node, data, 16),
        }

    def _path(self, node: int, name: bytes) -> str:
        return os.path.join(self._paths[node], name.split(b"\0")[0].decode())

    def _number(self, path: str) -> int:
        if path not in self._numbers:
            self._numbers[path] = max(self._paths) + 1
            self._paths[self._numbers[path]] = path
        return self._numbers[path]

    def _attributes(self, status: os.stat_result) -> bytes:
        size = max(status.st_size, self._sizes.get(status.st_ino, 0))
        times = [divmod(ns, 10**9) for ns in (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)]
        whole, parts = [second for second, _ in times], [part for _, part in times]
        owner = (status.st_mode, status.st_nlink, status.st_uid, status.st_gid, 0, 4096, 0)
        return ATTRIBUTES.pack(status.st_ino, size, status.st_blocks, *whole, *parts, *owner)

    def _entry(self, path: str) -> bytes:
        attributes = self._attributes(os.lstat(path))
        return ENTRY.pack(self._number(path), 0, 0, 0, 0, 0) + attributes

    def _get_attributes(self, node: int, data: bytes) -> bytes:
        flags, _, handle = _numbers(data, "<IIQ")
        status = os.fstat(handle) if flags & 1 else os.lstat(self._paths[node])
        return struct.pack("<QII", 0, 0, 0) + self._attributes(status)

    def _set_attributes(self, node: int, data: bytes) -> bytes:
        valid, _, handle, size = _numbers(data, "<IIQQ")
        mode, _, uid, gid = _numbers(data[68:], "<4I")
        place: int | str = handle if valid & BY_HANDLE else self._paths[node]
        if valid & SIZE:
            inode = os.stat(place).st_ino
            if valid & BY_HANDLE:
                self._flushed(handle)
            self._pages.pop(inode, None)
            self._sizes.pop(inode, None)
            os.truncate(place, size)
        if valid & MODE:
            os.chmod(place, mode & 0o7777)
        if valid & (UID | GID):
            os.chown(place, uid if valid & UID else -1, gid if valid & GID else -1)
        status = os.stat(place)
        return struct.pack("<QII", 0, 0, 0) + self._attributes(status)

    def _made(self, node: int, name: bytes, make: Callable[[str], None]) -> bytes:
        make(path := self._path(node, name))
        return self._entry(path)

    def _removed(self, path: str, remove: Callable[[str], None]) -> bytes:
        remove(path)
        self._numbers.pop(path, None)
        return b""

    def _renamed(self, node: int, data: bytes, begin: int) -> bytes:
        old, new = data[begin:].split(b"\0")[:2]
        before, after = self._path(node, old), self._path(_numbers(data, "<Q")[0], new)
        os.rename(before, after)
        number = self._numbers.pop(before, None)
        self._numbers.pop(after, None)
        if number is not None:
            self._numbers[after], self._paths[number] = number, after
        return b""

    def _link(self, node: int, data: bytes) -> bytes:
        old = self._paths[_numbers(data, "<Q")[0]]
        return self._made(node, data[8:], lambda path: os.link(old, path))

    def _opened(self, handle: int) -> bytes:
        return OPENED.pack(handle, DIRECT_IO, 0)

    def _create(self, node: int, data: bytes) -> bytes:
        flags, mode = _numbers(data, "<II")
        path = self._path(node, data[16:])
        handle = os.open(path, _access(flags) | os.O_CREAT, mode)
        return self._entry(path) + self._opened(handle)

    def _read(self, node: int, data: bytes) -> bytes:
        handle, offset, size = _numbers(data, "<QQI")
        status = os.fstat(handle)
        end = min(offset + size, max(status.st_size, self._sizes.get(status.st_ino, 0)))
        found = bytearray(os.pread(handle, size, offset).ljust(max(0, end - offset), b"\0"))
        for number, page in self._pages.get(status.st_ino, {}).items():
            low, high = max(offset, number * PAGE), min(end, (number + 1) * PAGE)
            if low < high:
                found[low - offset : high - offset] = page[low - number * PAGE : high - number * PAGE]
        return bytes(found)

    def _write(self, node: int, data: bytes) -> bytes:
        handle, offset, size = _numbers(data, "<QQI")
        inode = os.fstat(handle).st_ino
        pages = self._pages.setdefault(inode, {})
        done = 0
        while done < size:
            number, begin = divmod(offset + done, PAGE)
            if number not in pages:
                pages[number] = bytearray(os.pread(handle, PAGE, number * PAGE).ljust(PAGE, b"\0"))
            part = data[40 + done : 40 + min(size, done + PAGE - begin)]
            pages[number][begin : begin + len(part)] = part
            done += len(part)
        self._sizes[inode] = max(self._sizes.get(inode, 0), offset + size)
        return struct.pack("<II", size, 0)

    def _flushed(self, handle: int, *, sync: bool = False) -> bytes:
        status = os.fstat(handle)
        size = max(status.st_size, self._sizes.pop(status.st_ino, 0))
        for number, page in sorted(self._pages.pop(status.st_ino, {}).items()):
            os.pwrite(handle, page[: max(0, size - number * PAGE)], number * PAGE)
        if sync:
            os.fsync(handle)
        return b""

    def _closed(self, handle: int) -> bytes:
        try:
            return self._flushed(handle)
        finally:
            os.close(handle)

    def _statfs(self, node: int, data: bytes) -> bytes:
        info = os.statvfs(self._paths[1])
        blocks = (info.f_blocks, info.f_bfree, info.f_bavail, info.f_files, info.f_ffree)
        return struct.pack("<5Q10I", *blocks, info.f_bsize, info.f_namemax, info.f_frsize, *[0] * 7)

    def _read_folder(self, node: int, data: bytes) -> bytes:
        _, offset, size = _numbers(data, "<QQI")
        found = b""
        for place, item in enumerate(sorted(os.scandir(self._paths[node]), key=lambda item: item.name), 1):
            name = item.name.encode()
            record = struct.pack("<QQII", item.inode(), place, len(name), 0) + name
            record += bytes(-len(record) % 8)
            if place > offset and len(found) + len(record) <= size:
                found += record
        return found


def _access(flags: int) -> int:
    """Return how the file behind is opened: what is only written to is read as well, by pages."""
    flags &= ~os.O_APPEND
    return flags & ~os.O_ACCMODE | os.O_RDWR if flags & os.O_ACCMODE == os.O_WRONLY else flags


def _numbers(data: bytes, layout: str) -> tuple[int, ...]:
    return struct.unpack_from(layout, data)


def serve(device: int, client: Client) -> None:
    """Answer until standard input ends or somebody unmounts."""
    while True:
        ready, _, _ = select.select([device, sys.stdin], [], [])
        if device not in ready:
            return
        try:
            message = os.read(device, MOST + 4096)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            continue
        length, code, unique, node, *_ = HEADER.unpack_from(message)
        if code in NO_REPLY:
            continue
        try:
            answer, failure = client.answers[code](node, message[HEADER.size : length]), 0
        except OSError as error:
            answer, failure = b"", error.errno or errno.EIO
        except KeyError:
            answer, failure = b"", errno.ENOSYS if code not in client.answers else errno.ESTALE
        os.write(device, struct.pack("<IiQ", 16 + len(answer), -failure, unique) + answer)


def main(folder: str, mount: str, kind: str) -> None:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"parnwb-test", mount.encode(), kind.encode(), 0, options.encode()):
        raise SystemExit(f"mount: {os.strerror(ctypes.get_errno())}")
    print("up", flush=True)
    try:
        serve(device, Client(folder))
    finally:
        libc.umount2(mount.encode(), MNT_DETACH)


if __name__ == "__main__":
    main(*sys.argv[1:])
