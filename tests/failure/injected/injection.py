"""``Injection``: which call on which file fails, and how."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("failing.c")
KINDS = ("none", "open", "write", "read", "sync", "truncate", "rename", "unlink")
EVER = 1 << 40


@dataclass(frozen=True)
class Injection:
    """A rule for calls of libc.

    Parameters
    ----------
    kind
        One of ``KINDS``.
    file
        The end of the file's path.
    first
        Number of the first such call that fails, from 1; calls on other files do not count.
    error
        Name of an errno; None for writes that are only short.
    part
        Bytes that the first of these calls does, or all of them without an error.
    times
        How many calls fail.
    """

    kind: str
    file: str
    first: int = 1
    error: str | None = None
    part: int = 0
    times: int = EVER

    def __str__(self) -> str:
        times = "" if self.times == EVER else f"x{self.times}"
        how = "-then-".join([f"{self.part}-bytes"] * bool(self.part) + [self.error] * bool(self.error))
        return f"{self.kind}-{self.file.rsplit('.', 1)[-1]}-{self.first}{times}-{how}"

    @property
    def reason(self) -> str:
        """What the system says of it."""
        return os.strerror(getattr(errno, self.error)) if self.error else ""


NOTHING = Injection("none", "")


def compiled(folder: Path) -> Path:
    """Compile the library and return its path.

    Raises
    ------
    FileNotFoundError
        There is no compiler.
    """
    library = folder / "failing.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library, SOURCE, "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


def arm(injection: Injection) -> None:
    """Let calls of this process fail from now on, and begin to count them."""
    number = getattr(errno, injection.error) if injection.error else 0
    function = ctypes.CDLL(None).fault_arm
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_int, ctypes.c_long]
    first, times, part = injection.first, injection.times, injection.part
    function(KINDS.index(injection.kind), injection.file.encode(), first, times, number, part)


def calls_seen() -> int:
    """Return how many calls the rule was about, since it is armed."""
    return int(ctypes.CDLL(None).fault_seen())


def calls_hit() -> int:
    """Return how many of them failed or were short."""
    return int(ctypes.CDLL(None).fault_hits())
