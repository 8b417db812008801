"""A wheel made from the sdist, in an environment of its own, writes a file on two ranks."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from mpi_launch import run_mpi

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads TOML")
WRITTEN = Path(__file__).with_name("written.py")


def test_the_sdist_holds_the_sources(made: Path) -> None:
    with tarfile.open(next(made.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"parnwb/codec/planes.c", "parnwb/py.typed", "LICENSE", "pyproject.toml", "tests/mpi_launch.py"} <= names


def test_the_wheel_holds_the_package_alone(made: Path) -> None:
    with zipfile.ZipFile(next(made.glob("*.whl"))) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"parnwb"}
    assert "parnwb/py.typed" in names and not [name for name in names if name.endswith(".c")]


def test_it_writes_a_file_where_it_is_installed(made: Path, tmp_path: Path) -> None:
    """What it needs is taken from this environment: a path file instead of minutes of installing."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    here = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    there = tmp_path / "venv" / "lib" / here.parent.name / "site-packages"
    wheel = next(made.glob("*.whl"))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", there, wheel]
    subprocess.run(install, check=True, timeout=120, capture_output=True)
    (there / "others.pth").write_text(f"{here}\n")
    where = [python, "-c", "import parnwb; print(parnwb.__file__, parnwb.__version__)"]
    said = subprocess.run(where, capture_output=True, text=True, timeout=60, cwd=tmp_path).stdout.split()
    assert said == [str(there / "parnwb" / "__init__.py"), wheel.name.split("-")[1]]
    env = {"PYTHONPATH": "", "MPI4PY_LIBMPI": os.environ.get("MPI4PY_LIBMPI", "")}
    (tmp_path / "written.py").write_text(WRITTEN.read_text())
    env = {name: value for name, value in env.items() if value or name == "PYTHONPATH"}
    libraries = here.parents[1]
    env["LD_LIBRARY_PATH"] = f"{libraries}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    done = run_mpi(2, [python, tmp_path / "written.py", tmp_path / "out.nwb"], cwd=tmp_path, env=env)
    assert done.returncode == 0 and "written and read with 2 ranks" in done.stdout, done.stdout + done.stderr


def test_versions_are_tags(tmp_path: Path) -> None:
    """A commit with a tag, and the one after it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = next(need for need in project["build-system"]["requires"] if need.startswith("setuptools-scm"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", tmp_path / "scm"]
    subprocess.run([*pip, needed, "setuptools>=77"], check=True, timeout=120, capture_output=True)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-tags", ROOT, clone], check=True, timeout=60, capture_output=True)
    who = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]

    def version(*command: str) -> str:
        subprocess.run(["git", *who, *command], cwd=clone, check=True, timeout=60, capture_output=True)
        ask = [sys.executable, "-m", "setuptools_scm"]
        env = {**os.environ, "PYTHONPATH": str(tmp_path / "scm")}
        done = subprocess.run(ask, cwd=clone, env=env, check=True, timeout=60, capture_output=True, text=True)
        return done.stdout.strip()

    assert version("tag", "-a", "v9.8.7", "-m", "tagged") == "9.8.7"
    assert version("commit", "--quiet", "--allow-empty", "-m", "another").startswith("9.8.8.dev1+g")
