"""Ranks that start in milliseconds: forked from a process which has imported everything but MPI.

Importing pynwb takes a second of a core, and a campaign starts thousands of ranks. `mpiexec` starts this file as a
program that imports next to nothing; it hands its environment and its open files to the nursery, whose child does the
work, and it ends as that child ends. If mpiexec kills it, the nursery kills the child.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time

ADDRESS = "PARNWB_TEST_NURSERY"
LAUNCH = "PARNWB_TEST_LAUNCH"  # as mpi_launch marks its launches
# Files that a rank has from mpiexec, by the variables that name them.
DESCRIPTORS = ("PMI_FD",)
ROOM = 1 << 17


def descriptors() -> list[int]:
    """Return the numbers of the open files that a rank is born with."""
    return [0, 1, 2, *(int(os.environ[name]) for name in DESCRIPTORS if name in os.environ)]


def stand_in() -> None:
    """Let the nursery do what this process was started for."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        line.connect(os.environ[ADDRESS])
        numbers = descriptors()
        wanted = {"argv": sys.argv[1:], "environment": dict(os.environ), "cwd": os.getcwd(), "numbers": numbers}
        socket.send_fds(line, [json.dumps(wanted).encode()], numbers)
        status = int(line.recv(100) or b"9")
        for number in numbers[3:]:
            os.close(number)
    if status:
        # Hydra overlooks the death of a process which it has reaped before it has seen that its PMI line is closed,
        # and lets the other ranks wait for ever. That is a matter of microseconds, which a large process does not hit.
        time.sleep(0.01)
    if os.WIFSIGNALED(status):
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL) if os.WTERMSIG(status) != signal.SIGKILL else None
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__" and ADDRESS in os.environ:
    stand_in()

# What follows is of the nursery itself and of those who use it.
import atexit  # noqa: E402
import ctypes  # noqa: E402
import fcntl  # noqa: E402
import gc  # noqa: E402
import select  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

PR_SET_PDEATHSIG = 1
HIGH = 200  # above all descriptors in use


class Nursery:
    """A process that gives birth to ranks, while this context lasts; does nothing where it is not needed.

    Parameters
    ----------
    program
        A module with a function ``main(argv)``, importable from the folder of the tests.
    """

    def __init__(self, program: str) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="parnwb-nursery-")
        self.address = Path(self._folder.name) / "socket"

    def __enter__(self) -> Nursery:
        command = [sys.executable, "-W", "ignore", __file__, "serve", str(self.address), self._program]
        environment = {name: value for name, value in os.environ.items() if name != ADDRESS}
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self.address.exists():
            assert self._process.poll() is None and time.monotonic() < deadline, "the nursery did not start"
            time.sleep(0.01)
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def rank(self, *arguments: str) -> list[str]:
        """Return the command of one rank."""
        return [sys.executable, "-I", "-S", "-E", __file__, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """What a launch must have in its environment."""
        return {ADDRESS: str(self.address)}

    def wait_for_the_end(self, seconds: float = 20) -> None:
        """Return when no rank is left, killed ones included."""
        deadline = time.monotonic() + seconds
        while self._alive():
            assert time.monotonic() < deadline, "ranks outlive their launch"
            time.sleep(0.002)

    def _alive(self) -> int:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.connect(str(self.address))
            line.send(b"null")
            return int(line.recv(100))


class _Server:
    def __init__(self, address: str) -> None:
        self._parent = os.getppid()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(address + ".new")
        self._listener.listen(64)
        os.rename(address + ".new", address)
        self._children: dict[int, socket.socket] = {}

    def serve(self) -> list[str] | None:
        """Serve; return the arguments in each child, and nothing when there is nobody to serve any more."""
        while os.getppid() == self._parent:
            readable, _, _ = select.select([self._listener, *self._children.values()], [], [], 0.003)
            self._bury()
            for line in readable:
                if line is self._listener:
                    argv = self._welcome(self._listener.accept()[0])
                    if argv is not None:
                        return argv
                else:
                    self._forsake(line)
        return None

    def _bury(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            line = self._children.pop(pid)
            try:
                line.send(str(status).encode())
            except OSError:
                pass  # its stand-in was killed
            line.close()

    def _forsake(self, line: socket.socket) -> None:
        """Kill the child of a stand-in that has died."""
        for pid, other in self._children.items():
            if other is line:
                os.kill(pid, signal.SIGKILL)
                while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT) is None:
                    pass
        self._bury()

    def _welcome(self, line: socket.socket) -> list[str] | None:
        message, received, _, _ = socket.recv_fds(line, ROOM, 16)
        wanted = json.loads(message or b"null")
        if wanted is None:
            line.send(str(len(self._children)).encode())
            line.close()
            return None
        server = os.getpid()
        pid = os.fork()
        if pid:
            self._children[pid] = line
            for descriptor in received:
                os.close(descriptor)
            return None
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)
        moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, HIGH) for descriptor in received]
        for each in (self._listener, line, *self._children.values()):
            each.detach()  # or it would close whatever has its number by then
        os.closerange(3, HIGH)
        for descriptor, number in zip(moved, wanted["numbers"], strict=True):
            os.dup2(descriptor, number)
        os.closerange(HIGH, 2 * HIGH)
        os.environ.clear()
        os.environ.update(wanted["environment"])
        os.chdir(wanted["cwd"])
        return list(wanted["argv"])


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import importlib

    program = importlib.import_module(sys.argv[3])
    gc.collect()
    gc.freeze()  # children need not look through what they have from here, nor copy it
    argv = _Server(sys.argv[2]).serve()
    if argv is not None:
        _end_with(_status(program.main, argv))


def _status(function: Callable[[list[str]], object], argv: list[str]) -> int:
    """Run a program and return the status that Python would end with."""
    try:
        function(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def _end_with(status: int) -> None:
    """End without taking the interpreter to pieces, which takes longer than all else; MPICH and HDF5 do clean up."""
    atexit._run_exitfuncs()
    if "mpi4py.MPI" in sys.modules:
        sys.modules["mpi4py.MPI"].Finalize()
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).exit(status)


if __name__ == "__main__":
    main()
