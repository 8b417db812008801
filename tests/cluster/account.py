"""A user's account on the cluster: parnwb where the site file of jobscripts/ expects it, and recordings."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from cluster.slurm import Job, Slurm

from parnwb.recordings.made_recording import make_spikeglx_recording

ROOT = Path(__file__).parents[2]
JOBSCRIPTS = ROOT / "jobscripts"
METADATA = "NWBFile: {session_start_time: '2024-03-05T10:15:30+00:00'}\n"


@dataclass(frozen=True)
class Account:
    """A user's account.

    Parameters
    ----------
    slurm
        The cluster.
    home
        The user's folder.
    """

    slurm: Slurm
    home: Path

    @classmethod
    def create(cls, slurm: Slurm, home: Path) -> Account:
        """Put this environment where a user would have it, and parnwb from this checkout into it."""
        (home / "parnwb").mkdir(parents=True)
        (home / "parnwb" / ".venv").symlink_to(sys.prefix)
        (home / "metadata.yaml").write_text(METADATA)
        return cls(slurm, home)

    def recording(self, name: str, megabytes: float = 4, seed: int = 0) -> Path:
        """Make a recording."""
        return make_spikeglx_recording(self.home / name, megabytes=megabytes, seed=seed)

    @property
    def reading(self) -> list[str]:
        """Options by which recordings are read."""
        return ["--metadata", str(self.home / "metadata.yaml")]

    @property
    def variables(self) -> dict[str, str]:
        """What the user's shell has set."""
        search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        return {"HOME": str(self.home), "PYTHONPATH": search, "PARNWB_SITE": str(JOBSCRIPTS / "site.sh")}

    def run(self, *argv: str | os.PathLike[str], seconds: float) -> str:
        """Run a program on the head and return what it prints."""
        return self.slurm.run(*argv, cwd=self.home, timeout=seconds, **self.variables)

    def parnwb(self, *arguments: str | os.PathLike[str], seconds: float = 120) -> str:
        """Run parnwb on the head and return what it prints."""
        return self.run(Path(sys.prefix) / "bin" / "parnwb", *arguments, seconds=seconds)

    def submit(
        self, name: str, *arguments: str | os.PathLike[str], options: tuple[str, ...] = (), **env: str
    ) -> int:
        """Submit one of the job scripts on two ranks of each node that it has; return the job's number."""
        size = "--nodes=1" if name in ("single_node", "array") else "--nodes=2"
        return self.submit_file(JOBSCRIPTS / f"{name}.sbatch", *arguments, options=(size, *options), **env)

    def submit_file(
        self, script: Path, *arguments: str | os.PathLike[str], options: tuple[str, ...] = ("--nodes=2",), **env: str
    ) -> int:
        """Submit any script on two ranks of each node, with the site file that users get."""
        env = {**self.variables, **env}
        sbatch = ["--ntasks-per-node=2", "--export=ALL", f"--output={self.home}/%x-%j.log", *options]
        return self.slurm.submit(*sbatch, script, *arguments, cwd=self.home, **env)


def assert_done(job: Job) -> None:
    """Check that a job has ended well."""
    assert (job.state, job.status) == ("COMPLETED", 0), f"{job.fields}\n{job.log}"
