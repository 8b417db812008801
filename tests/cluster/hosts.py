"""Several hosts on one machine: each has its own network, name, processes, shared memory and mounts; files are shared.

A host lives as long as its first process, and that as long as a pipe from here is open: whatever becomes of the tests,
nothing of it is left, and nothing is ever added to the machine's own network or mounts. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpi_launch import die_with_parent, mpi_vendor, mpiexec_path, run_launcher

HERE = Path(__file__).parent
PROGRAMS = ("ip", "nsenter", "unshare")
SECONDS = 20
NETWORK = "10.77.0"

# Arguments: name, file for /etc/hosts. The end of standard input, which comes when the tests have ended, ends it, and
# with the first process of a namespace the kernel ends all others.
FIRST_PROCESS = """
hostname "$1" && mount --bind "$2" /etc/hosts && mount -t tmpfs -o size=1g,mode=1777 shm /dev/shm &&
ip link set lo up && echo up && read -r _
"""
# Arguments: an address. Its host refuses what nobody listens for, which says that it was reached.
REACH = """
import errno, socket, sys
with socket.socket() as asking:
    asking.settimeout(2)
    sys.exit(asking.connect_ex((sys.argv[1], 9)) not in (0, errno.ECONNREFUSED))
"""
# MPI's launchers, which find the other hosts through `rsh`.
LAUNCHERS = {
    "openmpi": ["--mca", "plm", "rsh", "--mca", "plm_rsh_agent", str(HERE / "rsh"), "--oversubscribe"],
    "mpich": ["-launcher", "ssh", "-launcher-exec", str(HERE / "rsh")],
}
HOST_FLAG = {"openmpi": "--host", "mpich": "-hosts"}
# UCX, which carries MPICH's messages, takes hosts with one kernel for one, and tries to share memory between them.
ONE_KERNEL = {"UCX_TLS": "tcp,self"}


def why_not() -> str | None:
    """Return why this machine cannot have hosts of its own, None if it can."""
    if os.geteuid() != 0:
        return "hosts in network namespaces need root"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"hosts in network namespaces need {', '.join(missing)} (tests/environments/cluster.sh)"
    tried = subprocess.run(["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "true"], capture_output=True)
    return None if tried.returncode == 0 else f"this machine allows no namespaces: {tried.stderr.decode().strip()}"


@dataclass(frozen=True)
class Host:
    """One host.

    Parameters
    ----------
    name, address
        Which the others know it by.
    first
        Its first process, by the id that the machine knows.
    spaces
        Its namespaces, as options of nsenter.
    """

    name: str
    address: str
    first: int
    spaces: tuple[str, ...]

    def command(self, *argv: str | os.PathLike[str]) -> list[str]:
        """Return the command that runs another one on this host."""
        return ["nsenter", "--target", str(self.first), *self.spaces, "--", *map(os.fspath, argv)]

    def run(self, *argv: str | os.PathLike[str], timeout: float = SECONDS, **more: Any) -> str:
        """Run a command on this host and return what it prints.

        Raises
        ------
        AssertionError
            It failed; with what it said.
        """
        done = subprocess.run(self.command(*argv), capture_output=True, text=True, timeout=timeout, **more)
        assert done.returncode == 0, f"{' '.join(map(str, argv))} on {self.name}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def set_link(self, state: str) -> None:
        """Take the host's network 'down' or 'up' again."""
        self.run("ip", "link", "set", "eth0", state)

    def reaches(self, other: Host) -> bool:
        """Tell whether another host answers this one."""
        asked = self.command(sys.executable, "-c", REACH, other.address)
        return subprocess.run(asked, timeout=SECONDS).returncode == 0

    @contextmanager
    def without(self, folder: Path) -> Iterator[None]:
        """Let this host see an empty folder where the others have ``folder``."""
        self.run("mount", "-t", "tmpfs", "-o", "size=64m", "not-shared", folder)
        try:
            yield
        finally:
            self.run("umount", "-l", folder)


@dataclass(frozen=True)
class Hosts:
    """A head, from which programs are launched, and nodes, on which they run.

    Parameters
    ----------
    head
        Shares the processes of the machine, so that launchers there find the nodes.
    nodes
        node1, node2 and so on.
    folder
        Of files that all of them see.
    """

    head: Host
    nodes: tuple[Host, ...]
    folder: Path

    @contextmanager
    def called(self, name: str) -> Iterator[None]:
        """Let all nodes have one name, as clones of a machine have it; launchers know them as before.

        Daemons of Open MPI with one host's name would make the same folders at the same time, and fail: each node has
        a folder of that name to itself.
        """
        place = self.folder / f"ompi.{name}.{os.getuid()}"
        place.mkdir(exist_ok=True)
        with ExitStack() as undone:
            for node in self.nodes:
                own = self.folder / f"{node.name}.own"
                own.mkdir(exist_ok=True)
                node.run("mount", "--bind", own, place)
                undone.callback(node.run, "umount", "-l", place)
                node.run("hostname", name)
                undone.callback(node.run, "hostname", node.name)
            yield

    @contextmanager
    def cached(self, disk: Path, mount: Path) -> Iterator[None]:
        """Let each host see ``disk`` at ``mount`` through a client that keeps what it has read of files and names.

        A FUSE mirror with the page cache of the kernel, which nothing tells of what other hosts do.
        """
        options = "kernel_cache,attr_timeout=60,entry_timeout=60,negative_timeout=60"
        mounted = []
        try:
            for host in (self.head, *self.nodes):
                host.run("bindfs", "-o", options, disk, mount)
                mounted.append(host)
            yield
        finally:
            for host in mounted:
                host.run("umount", "-l", mount)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the variables with which programs are launched."""
        return {"PARNWB_TEST_HOSTS": str(self.folder), "TMPDIR": str(self.folder), **ONE_KERNEL, **(extra or {})}

    def run_mpi(
        self, ranks_per_node: int, argv: Sequence[str | os.PathLike[str]], *, timeout: float, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program with so many ranks on each node, as ``mpi_launch.run_mpi`` does on one host."""
        vendor = mpi_vendor()
        places = ",".join(f"{node.name}:{ranks_per_node}" for node in self.nodes)
        count = str(ranks_per_node * len(self.nodes))
        mpiexec = [mpiexec_path(), *LAUNCHERS[vendor], HOST_FLAG[vendor], places, "-n", count]
        command = self.head.command("env", f"--chdir={self.folder}", *mpiexec, *argv)
        return run_launcher(command, timeout=timeout, env=self.environment(env))


@contextmanager
def hosts_up(nodes: int = 2) -> Iterator[Hosts]:
    """Bring up a head and nodes on one bridge; all of it is gone afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parnwb-lab-")))
        folder.chmod(0o755)
        names = ["head", *(f"node{number}" for number in range(1, nodes + 1))]
        addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, start=1)}
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
        (folder / "hosts").write_text("\n".join(lines) + "\n")
        made = [
            stack.enter_context(_host(name, address, folder / "hosts", has_own_processes=name != "head"))
            for name, address in addresses.items()
        ]
        _connect(*made)
        for host in made:
            (folder / host.name).write_text(str(host.first))
        yield Hosts(made[0], tuple(made[1:]), folder)


@contextmanager
def _host(name: str, address: str, hosts_file: Path, *, has_own_processes: bool) -> Iterator[Host]:
    spaces = ["--net", "--uts", "--mount", *(["--pid"] if has_own_processes else [])]
    processes = ["--fork", "--kill-child", "--mount-proc"] if has_own_processes else []
    argv = ["unshare", *spaces, *processes, "bash", "-c", FIRST_PROCESS, "host", name, str(hosts_file)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == b"up\n", f"host {name} did not come up"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield Host(name, address, int(children[0]) if has_own_processes else process.pid, tuple(spaces))
    finally:
        process.stdin.close()
        try:
            process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _connect(head: Host, *nodes: Host) -> None:
    """Give every host its address; the bridge between them is the head's."""
    ip = ["nsenter", "--target", str(head.first), "--net", "ip"]  # which knows processes by the machine's ids
    commands = [["link", "add", "br0", "type", "bridge"], ["link", "set", "br0", "up"]]
    commands += [["address", "add", f"{head.address}/24", "dev", "br0"]]
    for number, node in enumerate(nodes, start=1):
        cable = f"port{number}"
        commands += [["link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(node.first)]]
        commands += [["link", "set", cable, "master", "br0", "up"]]
    for command in commands:
        subprocess.run([*ip, *command], check=True, timeout=SECONDS)
    for node in nodes:
        node.run("ip", "address", "add", f"{node.address}/24", "dev", "eth0")
        node.set_link("up")
