"""``Process``: one process of one machine, told apart from a later one of the same number; and whether it has ended."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import lru_cache

from parnwb.machine import kernel

# The number of the first namespace of process ids, which is the same on every Linux machine.
FIRST_NAMESPACE = "pid:[4026531836]"
STATE, THREADS, STARTED = 0, 17, 19  # fields of /proc/PID/stat after the name


@dataclass(frozen=True)
class Place:
    """Where process ids mean something.

    Parameters
    ----------
    host
        Name of the machine.
    boot
        Identifier of the running kernel, new after every start; empty where it is not known.
    machine
        Identifier of the installation; empty where it is not known.
    namespace
        Of process ids: containers have their own.
    """

    host: str
    boot: str
    machine: str
    namespace: str

    @classmethod
    def here(cls) -> Place:
        """Return the place of this process. Independent."""
        return cls(socket.gethostname(), kernel.boot(), kernel.text("/etc/machine-id"), kernel.namespace("pid"))

    def is_here(self) -> bool:
        """Tell whether this process can see the processes of that place. Independent."""
        here = _here()
        return bool(self.boot) and (self.boot, self.namespace) == (here.boot, here.namespace)

    def has_restarted(self) -> bool:
        """Tell whether that place is this machine before its last start. Independent.

        Said of machines only, not of containers, which are often given the same names.
        """
        here = _here()
        same = (self.host, self.machine) == (here.host, here.machine) and bool(self.machine)
        first = self.namespace == here.namespace == FIRST_NAMESPACE
        return same and first and bool(self.boot) and self.boot != here.boot


@dataclass(frozen=True)
class Process:
    """One process.

    Parameters
    ----------
    place
        Where it runs.
    number
        Its process id there.
    started
        Its start in ticks since the machine's; 0 where it is not known.
    """

    place: Place
    number: int
    started: int

    @classmethod
    def this(cls) -> Process:
        """Return this process. Independent."""
        return cls(_here(), os.getpid(), _started(_stat(os.getpid())))

    def has_ended(self) -> bool:
        """Tell whether it has surely ended; False where that cannot be known. Independent."""
        if self.place.has_restarted():
            return True
        return self.place.is_here() and not _runs(self.number, self.started)


def _runs(number: int, started: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    fields = _stat(number)
    if not fields:
        return True  # hidden from us, but there
    is_dead = fields[STATE] in "ZX" and int(fields[THREADS]) <= 1  # else some of its threads may still write
    return not is_dead and _started(fields) == started


def _stat(number: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` after the program's name, which may hold anything."""
    return kernel.text(f"/proc/{number}/stat").rpartition(")")[2].split()


def _started(fields: list[str]) -> int:
    return int(fields[STARTED]) if fields else 0


@lru_cache
def _here() -> Place:
    return Place.here()
