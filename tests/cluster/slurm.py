"""A real SLURM with two nodes, each of them a host of its own, on one machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.hosts import ONE_KERNEL, SECONDS, Host, Hosts
from mpi_launch import LEFT_OUT, die_with_parent, launcher_environment

PROGRAMS = ("munged", "sbatch", "slurmctld", "slurmd")
# More than the machine may have: jobs of tests run side by side.
CPUS = 8
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")

# Requeued jobs begin as soon as their credentials have expired; and lost nodes are soon noticed.
CONFIGURATION = """
ClusterName=lab
SlurmctldHost={head.name}({head.address})
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=10
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin={task_plugin}
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,sched_min_interval=0,bf_interval=2,batch_sched_delay=0,requeue_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
TmpFS={folder}/tmp-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdTimeout=10
KillWait=5
MinJobAge=3600
JobRequeue=1
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Return why this machine cannot have a SLURM of its own, None if it can."""
    missing = [program for program in PROGRAMS if _found(program) is None]
    if missing:
        return f"SLURM's {', '.join(missing)} not installed (tests/environments/cluster.sh does that, as root)"
    return None


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True)
class Job:
    """A job as SLURM shows it, by the names that ``scontrol show job`` uses."""

    fields: dict[str, str]

    @property
    def state(self) -> str:
        """PENDING, RUNNING, COMPLETED and so on."""
        return self.fields["JobState"]

    @property
    def status(self) -> int:
        """Exit status of the batch script."""
        return int(self.fields["ExitCode"].split(":")[0])

    @property
    def restarts(self) -> int:
        """How often it was requeued."""
        return int(self.fields["Restarts"])

    @property
    def log(self) -> str:
        """What it has printed so far."""
        path = Path(self.fields["StdOut"])
        return path.read_text(errors="replace") if path.exists() else ""


@dataclass(frozen=True)
class Slurm:
    """A running cluster, used from its head.

    Parameters
    ----------
    hosts
        On which it runs.
    folder
        Of its configuration, state and logs.
    """

    hosts: Hosts
    folder: Path

    def run(
        self, *argv: str | os.PathLike[str], cwd: Path | None = None, timeout: float = SECONDS, **env: str
    ) -> str:
        """Run one of SLURM's commands on the head and return what it prints."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
        given = {**ONE_KERNEL, "SLURM_CONF": str(self.folder / "slurm.conf"), **env}
        environment = {**launcher_environment(), **inherited, **given}
        place = ["env", f"--chdir={cwd or self.folder}"]
        return self.hosts.head.run(*place, *argv, timeout=timeout, env=environment)

    def submit(self, *argv: str | os.PathLike[str], cwd: Path, **env: str) -> int:
        """Submit a script with sbatch's options before it and its arguments after it; return the job's number."""
        return int(self.run("sbatch", "--parsable", *argv, cwd=cwd, **env))

    def job(self, number: int | str) -> Job:
        """Return what SLURM knows of a job."""
        shown = self.run("scontrol", "--oneliner", "show", "job", str(number)).splitlines()[0]
        return Job(dict(re.findall(r"(\S+?)=(\S*)", shown)))

    def wait(self, number: int | str, until: Callable[[Job], bool] | None = None, *, seconds: float) -> Job:
        """Return a job when it has ended, or ``until`` says so; fail when the time is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            job = self.job(number)
            if (until is None or job.state in ENDED) and job.state in ENDED or until is not None and until(job):
                return job
            time.sleep(0.3)
        self.run("scancel", str(number))
        raise AssertionError(f"job {number} is {job.state} after {seconds} s: {job.fields}\n{job.log}")

    def start_node(self, host: Host) -> subprocess.Popen[bytes]:
        """Start the daemon of a node, and return it when it has been started, not yet when it is at work."""
        argv = ["slurmd", "-D", "-N", host.name, "-f", self.folder / "slurm.conf"]
        return _daemon(host.command("env", f"PATH={os.environ['PATH']}:/usr/sbin:/sbin", *argv))

    def until_idle(self, seconds: float = 30) -> None:
        """Wait until all nodes are ready for jobs."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            states = self.run("sinfo", "--noheader", "--Node", "--format=%T").split()
            if states == ["idle"] * len(self.hosts.nodes):
                return
            time.sleep(0.2)
        logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
        raise AssertionError(f"nodes are {states}, not idle\n{logs}")


@contextmanager
def slurm_up(hosts: Hosts, *, cpus: int = CPUS, task_plugin: str = "task/none") -> Iterator[Slurm]:
    """Start the daemons of a cluster, and end them and all its jobs.

    Parameters
    ----------
    cpus
        Of each node.
    task_plugin
        How tasks are bound to them.
    """
    folder = hosts.folder / "slurm"
    (folder / "state").mkdir(parents=True)
    for node in hosts.nodes:
        (folder / f"tmp-{node.name}").mkdir()
    nodes = "\n".join(f"NodeName={n.name} NodeAddr={n.address} CPUs={cpus} RealMemory=8000" for n in hosts.nodes)
    said = {"head": hosts.head, "folder": folder, "nodes": nodes, "task_plugin": task_plugin}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**said))
    slurm = Slurm(hosts, folder)
    with ExitStack() as stack:
        stack.enter_context(_ended(_munge(folder / "munge")))
        conf = folder / "slurm.conf"
        controller = hosts.head.command(_found("slurmctld") or "", "-D", "-c", "-f", conf)
        stack.enter_context(_ended(_daemon(controller)))
        for node in hosts.nodes:
            stack.enter_context(_ended(slurm.start_node(node)))
        slurm.until_idle()
        yield slurm
        slurm.run("scancel", "--quiet", "--user=root")


def _munge(folder: Path) -> subprocess.Popen[bytes]:
    """Start an authentication service with a key and a socket of its own."""
    folder.mkdir()
    key = folder / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    files = [f"--{name}-file={folder / name}" for name in ("key", "log", "pid", "seed")]
    munged = _daemon([_found("munged") or "", "--foreground", "--force", f"--socket={folder / 'socket'}", *files])
    end = time.monotonic() + SECONDS
    while not (folder / "socket").exists():
        assert munged.poll() is None and time.monotonic() < end, "munged did not start"
        time.sleep(0.05)
    return munged


def _daemon(argv: list[str]) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    return subprocess.Popen(argv, stdin=nothing, stdout=nothing, stderr=nothing, preexec_fn=die_with_parent)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a daemon, at the latest some seconds after it was asked to."""
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
