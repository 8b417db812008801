"""Podman on a machine that reaches Debian's packages and PyPI, but no registry: the base is made by debootstrap."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAMS = ("podman", "runc", "debootstrap", "tar")
BASE = "localhost/parnwb-test-base"
# The file by MPI's vendor: the image whose ranks this environment's mpiexec can start.
FILES = {"mpich": "slim.Dockerfile", "openmpi": "Dockerfile"}
# Where podman is itself in a container: what it may not raise, and no systemd.
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=10000:10000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SECONDS = 540


def why_not() -> str | None:
    """Return why images cannot be built here, None if they can."""
    if not os.environ.get("PARNWB_CONTAINERS"):
        return "images take minutes to build: make containers"
    if os.geteuid() != 0:
        return "a base image is made by debootstrap, which needs root"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    words = f"{', '.join(missing)} not installed (tests/environments/containers.sh does that, as root)"
    return words if missing else None


@dataclass(frozen=True)
class Podman:
    """Podman with settings of its own.

    Parameters
    ----------
    folder
        Of its settings.
    """

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Podman:
        """Write the settings, and make the base image unless it is there."""
        (folder / "containers.conf").write_text(CONFIGURATION)
        (folder / "pip.conf").write_text("[global]\ncert = /run/certificates.crt\n")
        podman = cls(folder)
        if podman.call("image", "exists", BASE, check=False).returncode:
            tree = folder / "base"
            subprocess.run(["debootstrap", "--variant=minbase", "trixie", tree], check=True, timeout=SECONDS)
            podman.call_shell(f"tar -C {tree} -c . | podman import - {BASE}")
            shutil.rmtree(tree)
        return podman

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which podman is called."""
        return {**os.environ, "CONTAINERS_CONF": str(self.folder / "containers.conf")}

    @property
    def for_pip(self) -> dict[Path, str]:
        """What pip needs to know of this machine, and where it looks for that."""
        if not CERTIFICATES.exists():
            return {}
        return {CERTIFICATES: "/run/certificates.crt", self.folder / "pip.conf": "/etc/pip.conf"}

    def call(
        self, *argv: str | os.PathLike[str], timeout: float = SECONDS, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Call podman; what it says is in the error if it fails."""
        command = ["podman", *map(os.fspath, argv)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=self.environment)
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout[-6000:]}{done.stderr[-6000:]}"
        return done

    def call_shell(self, command: str) -> None:
        """Run a command of the shell that calls podman."""
        subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True, timeout=SECONDS, env=self.environment)

    def build(self, tag: str, file: Path, context: Path = ROOT, **arguments: str) -> str:
        """Build an image from a file and return its tag."""
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        given += [f"--volume={source}:{place}:ro" for source, place in self.for_pip.items()]
        isolated = ["--format=docker", "--isolation=chroot", "--network=host"]
        self.call("build", *isolated, *given, f"--tag={tag}", f"--file={file}", context)
        return tag

    def run(self, image: str, *argv: str, timeout: float = 120, mounted: Mapping[Path, str] | None = None) -> str:
        """Run a program in a container, with files of this machine at other places, and return what it prints."""
        options = ["--rm", "--network=host", "--shm-size=256m", "--no-healthcheck"]
        options += [f"--volume={source}:{place}:ro" for source, place in (mounted or {}).items()]
        return self.call("run", *options, image, *argv, timeout=timeout).stdout

    def settings(self, image: str) -> dict[str, Any]:
        """Return what an image says of itself."""
        return json.loads(self.call("image", "inspect", image).stdout)[0]

    def unpack(self, image: str, folder: Path) -> Path:
        """Unpack an image as ``ch-convert`` does, which compresses it first, and return its root."""
        made = self.call("create", "--no-healthcheck", image, "true").stdout.split()[-1]
        folder.mkdir()
        try:
            self.call_shell(f"podman export {made} | tar -C {folder} -x --exclude='dev/*'")
        finally:
            self.call("rm", made)
        (folder / "ch").mkdir()
        (folder / "ch" / "environment").write_text("\n".join(self.settings(image)["Config"]["Env"]) + "\n")
        return folder
