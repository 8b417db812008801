"""``Lock``: one job at a time writes an output; the file beside it says which, and the job shows there that it lives.

The file is written under another name and linked to its own, which is atomic on network file systems as well, so that
nobody ever reads half of it. Only one of those who find it left behind may remove it: the one that creates the *claim*,
a lock on this very lock, which is taken in the same way.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

from parnwb.errors import TargetError
from parnwb.target.permissions import Permissions, create_file
from parnwb.target.process import Place, Process
from parnwb.target.visible import open_soon

HEARTBEAT_SECONDS = 30.0
# Without a heartbeat for so long a job on another host is said to be perhaps dead; it is for a person to decide.
SILENT_SECONDS = 600.0
PATIENCE_SECONDS = 10.0
HALF_WRITTEN_SECONDS = 1.0
LARGEST = 1 << 26
HEAD_BYTES = 4096
CLAIMS_ON_CLAIMS = 2
NO_LINKS = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
BREAK = "If it has surely ended, or may lose its work, pass break_lock=True (--break-lock)"
_HELD: set[str] = set()  # tokens of the locks that this process holds


class Standing(Enum):
    """What is known of a lock's holder."""

    HOLDS = "it may go on"
    LOST = "its lock may be taken, but some of its processes may still write"
    ENDED = "none of its processes is left"


@dataclass(frozen=True)
class Holder:
    """A job that holds a lock.

    Parameters
    ----------
    token
        Random.
    since
        When it took the lock.
    job
        Its SLURM job, with the cluster; empty without SLURM.
    restarts
        How often SLURM had requeued it.
    processes
        Its ranks, the root first.
    """

    token: str
    since: str
    job: str
    restarts: int
    processes: tuple[Process, ...]

    @classmethod
    def of(cls, processes: Sequence[Process]) -> Holder:
        """Return what these processes would write into a lock now. Independent."""
        number, cluster = os.environ.get("SLURM_JOB_ID", ""), os.environ.get("SLURM_CLUSTER_NAME", "")
        restarts = os.environ.get("SLURM_RESTART_COUNT", "")
        return cls(
            secrets.token_hex(4),
            datetime.now(timezone.utc).isoformat(" ", "seconds"),
            f"{number}@{cluster}" if number and cluster else number,
            int(restarts) if restarts.isdecimal() else 0,
            tuple(processes),
        )

    def __str__(self) -> str:
        root = self.processes[0]
        job = f"SLURM job {self.job}, " if self.job else ""
        ranks = f" and {len(self.processes) - 1} more" if len(self.processes) > 1 else ""
        return f"{job}process {root.number}{ranks} on host {root.place.host}, since {self.since}"

    def standing(self, me: Holder) -> Standing:
        """Return what ``me`` may think of this holder. Independent."""
        if self.token in _HELD:
            return Standing.HOLDS
        root, *others = (p.has_ended() or p == me.processes[0] for p in self.processes)
        if root:  # a lock that this very process left behind and does not hold counts as well
            return Standing.ENDED if all(others) else Standing.LOST
        requeued = bool(self.job) and self.job == me.job and self.restarts < me.restarts
        return Standing.LOST if requeued else Standing.HOLDS

    def to_bytes(self) -> bytes:
        """Return the content of the lock file."""
        places: dict[Place, list[list[int]]] = {}
        for process in self.processes:
            places.setdefault(process.place, []).append([process.number, process.started])
        rows = [{**vars(place), "processes": numbers} for place, numbers in places.items()]
        head = {"token": self.token, "since": self.since, "job": self.job, "restarts": self.restarts}
        return json.dumps({**head, "places": rows}, indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes) -> Holder | None:
        """Return the holder that ``to_bytes`` wrote, or None if this is something else."""
        try:
            head = json.loads(content)
            processes = tuple(
                Process(Place(*(str(row[name]) for name in ("host", "boot", "machine", "namespace"))), *map(int, pair))
                for row in head["places"]
                for pair in row["processes"]
            )
            found = cls(str(head["token"]), str(head["since"]), str(head["job"]), int(head["restarts"]), processes)
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return found if processes and re.fullmatch("[0-9a-f]{8}", found.token) else None


@dataclass(frozen=True)
class _Found:
    """A lock file as it was seen: the same content in the same file is the same lock."""

    content: bytes
    identity: tuple[int, int]

    @property
    def holder(self) -> Holder | None:
        return Holder.from_bytes(self.content)

    @property
    def name(self) -> str:
        holder = self.holder
        return holder.token if holder is not None else f"{self.identity[1] & 0xFFFFFFFF:08x}"


class Lock:
    """The right to write one output, for the job whose root holds this. Independent.

    Parameters
    ----------
    path
        Of the lock file.
    lost
        Where a lock is moved whose holder may still have processes that write.
    """

    def __init__(self, path: Path, lost: Path) -> None:
        self.path = path
        self._lost = lost
        self._holder: Holder | None = None
        self._descriptor = -1
        self._owner = 0
        self._released = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def longest(self) -> Path:
        """The longest name that is needed."""
        return _beside(self.path, ".".join(["0" * 8] * CLAIMS_ON_CLAIMS))

    def take(self, processes: Sequence[Process], *, like: Permissions | None = None, break_lock: bool = False) -> None:
        """Take the lock for these processes, or refuse.

        Parameters
        ----------
        processes
            All ranks, the root, which calls this, first.
        like
            Whose permissions the file gets; None leaves them to the umask.
        break_lock
            Whether a lock that is held, or that cannot be read, is taken all the same.

        Raises
        ------
        TargetError
            Another job holds it, or the folder cannot be written to.
        """
        me = Holder.of(processes)
        draft = _beside(self.path, f"{me.token}.new")
        _HELD.add(me.token)
        try:
            self._descriptor = self._write(draft, me, like)
            try:
                self._put(self.path, draft, me, like, break_lock, time.monotonic() + PATIENCE_SECONDS)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            self._forget(me)
            raise self._unwritable(error) from error
        except BaseException:
            self._forget(me)
            raise
        self._holder, self._owner, self._released = me, os.getpid(), threading.Event()
        self._sweep()
        beating = (os.dup(self._descriptor), self._released)
        self._thread = threading.Thread(target=_beat, args=beating, name="parnwb-heartbeat", daemon=True)
        self._thread.start()

    def try_out(
        self, processes: Sequence[Process], *, like: Permissions | None = None, break_lock: bool = False
    ) -> None:
        """Refuse what ``take`` would refuse, and leave everything as it was.

        Parameters
        ----------
        processes, like, break_lock
            As for ``take``.

        Raises
        ------
        TargetError
            As ``take``.
        """
        me = Holder.of(processes)
        draft = _beside(self.path, f"{me.token}.new")
        try:
            self._descriptor = self._write(draft, me, like)  # by whose time the heartbeat of another is judged
            try:
                found = _look(self.path)
                if found is not None:
                    self._judge(self.path, found, me, break_lock)
            finally:
                draft.unlink(missing_ok=True)
                os.close(self._descriptor)
                self._descriptor = -1
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> TargetError:
        return TargetError(
            f"the output folder cannot be written to: {error.strerror}",
            where=str(self.path),
            remedy="Check its permissions, the quota and whether it is mounted read-only",
        )

    def check_ours(self) -> None:
        """Check that nobody has broken this lock; one that was never taken is not looked at.

        Raises
        ------
        TargetError
            It is gone, or another job's.
        """
        if self._holder is not None and not self._is_ours():
            if not self.path.parent.is_dir():
                raise TargetError(
                    "the output folder was removed or renamed while the file was written",
                    where=str(self.path.parent),
                    remedy="What was committed is in it: put it back and resume, or start anew",
                )
            found = _look(self.path)
            holder = found.holder if found is not None else None
            raise TargetError(
                "the lock of this job was broken" + (f" by {holder}" if holder is not None else ""),
                where=str(self.path),
                remedy="The output is another job's now: this one has ended without touching it further",
            )

    @property
    def token(self) -> str:
        """By which other hosts recognise the lock; empty where it is not held."""
        return self._holder.token if self._holder is not None else ""

    def check_seen(self, token: str) -> None:
        """Check that this host sees the lock that the root has taken, hence the root's folder.

        Raises
        ------
        TargetError
            It does not, even after some seconds.
        """
        reason = "there is another job's"
        try:
            descriptor = open_soon(self.path)
            try:
                if token.encode() in os.read(descriptor, HEAD_BYTES):
                    return
            finally:
                os.close(descriptor)
        except OSError as error:
            reason = str(error.strerror)
        raise TargetError(
            f"every host must see the folder in which the root writes, but not its lock file here: {reason}",
            where=f"{self.path} on host {socket.gethostname()}",
            remedy="Write to a folder that all hosts share",
        )

    def release(self) -> None:
        """Remove the lock file if it is still ours; without a lock do nothing."""
        if self._holder is None or self._owner != os.getpid():
            return
        self._released.set()
        if self._thread is not None:
            self._thread.join(timeout=1)  # longer only where the file system hangs
        ours = self._is_ours()
        self._forget(self._holder)
        if ours:
            with contextlib.suppress(OSError):
                self.path.unlink()

    # -- taking --------------------------------------------------------------------------------------------

    def _put(
        self, path: Path, draft: Path, me: Holder, like: Permissions | None, break_lock: bool, deadline: float
    ) -> None:
        """Give the draft a name that only one may have, when who has it now may be removed."""
        half_written = time.monotonic() + HALF_WRITTEN_SECONDS
        while not self._link(draft, path, me, like):
            found = _look(path)
            if found is None:  # it has just been released
                pass
            elif found.identity == self._identity():  # the server had done it, but its reply was lost
                return
            elif found.holder is None and time.monotonic() < half_written:
                pass
            else:
                standing = self._judge(path, found, me, break_lock)
                with self._claimed(path, found, draft, me, like, break_lock, deadline):
                    if _look(path) == found:
                        self._remove(path, found, standing)
                continue
            if time.monotonic() > deadline:
                raise TargetError(
                    "the lock of the output changes hands all the time",
                    where=str(path),
                    remedy="Write to one output file from one job at a time",
                )
            time.sleep(0.02)

    @contextlib.contextmanager
    def _claimed(self, path: Path, found: _Found, *rest: Any) -> Iterator[None]:
        """Be the only one who may remove a lock that was left behind.

        A claim may be left behind as well, by one who ended within these few calls, and a claim on that claim; there
        it ends: after the third such accident in a row one who loses the race learns it from ``check_ours`` only.
        """
        if path.name.count(".") - self.path.name.count(".") == CLAIMS_ON_CLAIMS:
            yield
            return
        claim = _beside(path, found.name)
        self._put(claim, *rest)
        try:
            yield
        finally:
            claim.unlink(missing_ok=True)

    def _judge(self, path: Path, found: _Found, me: Holder, break_lock: bool) -> Standing:
        """Return the standing of one whose lock may be taken.

        Raises
        ------
        TargetError
            It may not.
        """
        holder = found.holder
        # A claim is held for an instant, by one who breaks the same lock.
        may_break = break_lock and (path == self.path or self._age(path) > PATIENCE_SECONDS)
        if holder is None:
            if may_break:
                return Standing.LOST
            raise TargetError(
                "the lock of the output is there, but does not say who holds it: it is damaged or not parnwb's",
                where=str(path),
                remedy=BREAK.replace("it has", "the job that wrote it has"),
            )
        standing = holder.standing(me)
        if standing is Standing.HOLDS and not may_break:
            raise TargetError(
                f"another job is writing this output: {holder}, {self._heard(path)}",
                where=str(path),
                remedy=f"Wait for it, or choose another name. {BREAK}",
            )
        return Standing.LOST if standing is Standing.HOLDS else standing

    def _remove(self, path: Path, found: _Found, standing: Standing) -> None:
        """Remove a lock; that of a job which may still write stays under another name, as a warning to all."""
        if path == self.path:
            whose = found.holder or "not known whose"
            warnings.warn(f"the lock of an earlier job is taken over: {whose}", stacklevel=5)
            if standing is Standing.LOST:
                os.replace(path, self._lost)
                return
        path.unlink(missing_ok=True)

    def _heard(self, path: Path) -> str:
        seconds = self._age(path)
        silent = " (a living job renews it every 30 s, so it may be dead)" if seconds > SILENT_SECONDS else ""
        return f"last heartbeat {round(seconds)} s ago{silent}"

    def _age(self, path: Path) -> float:
        """Return the seconds since the last heartbeat, by the clock that has just stamped our draft. Independent."""
        try:
            return max(0.0, os.fstat(self._descriptor).st_mtime - os.lstat(path).st_mtime)
        except OSError:
            return 0.0

    def _link(self, draft: Path, path: Path, me: Holder, like: Permissions | None) -> bool:
        try:
            os.link(draft, path, follow_symlinks=False)
        except FileExistsError:
            return False
        except FileNotFoundError:  # the one who took the lock meanwhile has swept it away
            os.close(self._descriptor)
            self._descriptor = -1
            self._descriptor = self._write(draft, me, like)
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return self._create(path, me, like)
        return True

    def _create(self, path: Path, me: Holder, like: Permissions | None) -> bool:
        """Do as ``_link`` where the file system has no links; what is written is seen before it is whole."""
        try:
            descriptor = self._write(path, me, like)
        except FileExistsError:
            return False
        os.close(self._descriptor)
        self._descriptor = descriptor
        return True

    @staticmethod
    def _write(path: Path, me: Holder, like: Permissions | None) -> int:
        descriptor = create_file(path, like)
        try:
            rest = me.to_bytes()
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)  # a lock that a power failure has emptied would be in everybody's way
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return descriptor

    def _sweep(self) -> None:
        """Remove drafts and claims of those who ended while they tried; who still tries makes a new one."""
        pattern = re.compile(re.escape(self.path.name) + r"(\.[0-9a-f]{8})+(\.new)?")
        with contextlib.suppress(OSError):
            for name in os.listdir(self.path.parent):
                if pattern.fullmatch(name):
                    self.path.with_name(name).unlink(missing_ok=True)

    # -- having --------------------------------------------------------------------------------------------

    def _is_ours(self) -> bool:
        try:
            return _identity(os.lstat(self.path)) == self._identity()
        except OSError:
            return False

    def _identity(self) -> tuple[int, int]:
        # The descriptor keeps the file's number from being given to another file.
        return _identity(os.fstat(self._descriptor))

    def _forget(self, me: Holder) -> None:
        _HELD.discard(me.token)
        self._holder = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _beat(descriptor: int, released: threading.Event) -> None:
    """Renew the time of the file until it is released, whatever the rest of the program waits for."""
    try:
        while not released.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}.{ending}")


def _look(path: Path) -> _Found | None:
    """Return the lock that is there, its content empty where it cannot be read; None without one. Independent."""
    try:
        identity = _identity(os.lstat(path))
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError:
        return _Found(b"", identity)
    try:
        pieces: list[Any] = []
        while sum(map(len, pieces)) < LARGEST and (piece := os.read(descriptor, 1 << 20)):
            pieces.append(piece)
        return _Found(b"".join(pieces), _identity(os.fstat(descriptor)))
    except OSError:
        return _Found(b"", identity)
    finally:
        os.close(descriptor)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
