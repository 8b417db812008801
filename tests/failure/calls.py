"""The calls by which parnwb changes files: counted, logged, and the last that a process makes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

REAL = {name: getattr(os, name) for name in ("open", "write", "pwrite", "pwritev", "fsync", "ftruncate", "replace")}
REAL |= {name: getattr(os, name) for name in ("rename", "unlink", "remove", "mkdir", "rmdir", "link", "symlink")}
KILLED = 9


@dataclass(frozen=True)
class Call:
    """One call, as it is about to be made.

    Parameters
    ----------
    kind
        ``create``, ``open`` (for writing), ``write``, ``sync``, ``sync folder``, ``truncate``, ``replace``, ``link``,
        ``unlink``.
    path
        The file.
    address, data
        Of a write; ``address`` is the size of ``truncate``.
    to
        The new name of ``replace``, the second one of ``link``.
    """

    kind: str
    path: str
    address: int = 0
    data: bytes = b""
    to: str = ""

    def __str__(self) -> str:
        rest = {"write": f" {len(self.data)} bytes at {self.address}", "replace": f" -> {Path(self.to).name}"}
        return f"{self.kind} {Path(self.path).name}{rest.get(self.kind, '')}"


class Watcher(Protocol):
    def __call__(self, call: Call, make: Callable[[], Any], tear: Callable[[int], None]) -> Any:
        """Make the call and return what it returns; or tear a write: make only its first bytes."""


def watch(folder: Path, watcher: Watcher) -> None:
    """Show every call that changes something in a folder to a watcher, from now on."""
    inside = os.path.realpath(folder)

    def of(descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    def ours(path: str) -> bool:
        return path == inside or path.startswith(f"{inside}/")

    def absolute(path: Any) -> str:
        return os.path.join(os.path.realpath(os.path.dirname(os.fspath(path)) or "."), os.path.basename(path))

    def no_tearing(count: int) -> None:
        raise AssertionError("only writes can be torn")

    def shown(call: Call, make: Callable[[], Any], tear: Callable[[int], None] = no_tearing) -> Any:
        return watcher(call, make, tear) if ours(call.path) else make()

    def open_(path: Any, flags: int, *rest: Any, **keywords: Any) -> int:
        def make() -> int:
            return int(REAL["open"](path, flags, *rest, **keywords))

        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or isinstance(path, int):
            return make()
        name = absolute(path)
        kind = "create" if flags & os.O_CREAT and not os.path.lexists(name) else "open"
        return int(shown(Call(kind, name), make))

    def pwritev(descriptor: int, batch: Any, address: int) -> int:
        data = b"".join(batch)
        call = Call("write", of(descriptor), address, data)
        tear = _tear(descriptor, data, address)
        return int(shown(call, lambda: REAL["pwritev"](descriptor, batch, address), tear))

    def pwrite(descriptor: int, data: Any, address: int) -> int:
        call, tear = Call("write", of(descriptor), address, bytes(data)), _tear(descriptor, bytes(data), address)
        return int(shown(call, lambda: REAL["pwrite"](descriptor, data, address), tear))

    def write(descriptor: int, data: Any) -> int:
        path = of(descriptor)
        if not ours(path):
            return int(REAL["write"](descriptor, data))
        address = os.lseek(descriptor, 0, os.SEEK_CUR)
        call, tear = Call("write", path, address, bytes(data)), _tear(descriptor, bytes(data), address)
        return int(shown(call, lambda: REAL["write"](descriptor, data), tear))

    def fsync(descriptor: int) -> None:
        path = of(descriptor)
        shown(Call("sync folder" if os.path.isdir(path) else "sync", path), lambda: REAL["fsync"](descriptor))

    def ftruncate(descriptor: int, size: int) -> None:
        shown(Call("truncate", of(descriptor), size), lambda: REAL["ftruncate"](descriptor, size))

    def replace(source: Any, target: Any) -> None:
        call = Call("replace", absolute(source), to=absolute(target))
        shown(call, lambda: REAL["replace"](source, target))

    def rename(source: Any, target: Any) -> None:
        call = Call("replace", absolute(source), to=absolute(target))
        shown(call, lambda: REAL["rename"](source, target))

    def mkdir(path: Any, *rest: Any) -> None:
        shown(Call("create", absolute(path)), lambda: REAL["mkdir"](path, *rest))

    def rmdir(path: Any) -> None:
        shown(Call("unlink", absolute(path)), lambda: REAL["rmdir"](path))

    def link(source: Any, target: Any, **keywords: Any) -> None:
        call = Call("link", absolute(source), to=absolute(target))
        shown(call, lambda: REAL["link"](source, target, **keywords))

    def unlink(path: Any, **keywords: Any) -> None:
        if not os.path.lexists(path):  # changes nothing
            REAL["unlink"](path, **keywords)
        shown(Call("unlink", absolute(path)), lambda: REAL["unlink"](path, **keywords))

    def unknown(*arguments: Any, **keywords: Any) -> None:
        raise AssertionError(f"a call that the tests do not know: {arguments}")

    os.open, os.write, os.pwrite, os.pwritev = open_, write, pwrite, pwritev
    os.fsync, os.ftruncate, os.replace, os.link, os.unlink = fsync, ftruncate, replace, link, unlink
    os.rename, os.mkdir, os.rmdir = rename, mkdir, rmdir
    os.remove = os.symlink = unknown
    # Older versions of pathlib have taken os.unlink for their own when they were imported.
    Path.unlink = _unlink  # type: ignore[method-assign]


def unwatch() -> None:
    """Show nothing any more."""
    for name, function in REAL.items():
        setattr(os, name, function)
    Path.unlink = _UNLINK  # type: ignore[method-assign]


_UNLINK = Path.unlink


def _unlink(self: Path, missing_ok: bool = False) -> None:
    try:
        os.unlink(self)
    except FileNotFoundError:
        if not missing_ok:
            raise


def _tear(descriptor: int, data: bytes, address: int) -> Callable[[int], None]:
    return lambda count: REAL["pwrite"](descriptor, data[:count], address)


@dataclass
class EndAfter:
    """Ends the process right after a call, or within it.

    Parameters
    ----------
    number
        Which call; 0 is before the first.
    torn
        For a write, which part of it is done; None for all of it.
    """

    number: int
    torn: float | None = None
    made: int = 0

    def __call__(self, call: Call, make: Callable[[], Any], tear: Callable[[int], None]) -> Any:
        if self.number == 0:
            os._exit(KILLED)
        self.made += 1
        if self.made < self.number:
            return make()
        if call.kind == "write" and self.torn is not None:
            tear(int(len(call.data) * self.torn))
        else:
            make()
        os._exit(KILLED)


@dataclass
class Log:
    """Keeps all calls."""

    calls: list[Call]

    def __call__(self, call: Call, make: Callable[[], Any], tear: Callable[[int], None]) -> Any:
        self.calls.append(call)
        return make()


def in_child(function: Callable[[], object], seconds: int = 60) -> int:
    """Run a function in a forked process and return its status; 0 is success."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            function()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
