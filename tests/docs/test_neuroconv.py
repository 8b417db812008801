"""What docs/neuroconv.md shows is run as it stands there, in a folder with the files that it names."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO

from parnwb.recordings.made_recording import make_spikeglx_recording

pytest.importorskip("neuroconv", reason='needs the extra "convert"')

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "neuroconv.md").read_text()
RANKS = 2  # the page says 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the source data, and the files that the page has in full."""
    folder = tmp_path_factory.mktemp("docs")
    make_spikeglx_recording(folder, megabytes=2)
    (folder / "trials.csv").write_text("start_time,stop_time,side\n0.1,0.2,left\n0.3,0.4,right\n")
    for kind, name, text in re.findall(r"```(\w+)\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL):
        assert Path(name).suffix == {"python": ".py", "yaml": ".yml"}[kind]
        (folder / name).write_text(text)
    return folder


def run(folder: Path, start: str) -> None:
    """Run the command of the page that begins with ``start``."""
    (line,) = re.findall(rf"^mpiexec -n 4 ({re.escape(start)}.*)$", PAGE, flags=re.MULTILINE)
    program, *arguments = shlex.split(line)
    programs = {"python": [sys.executable], "parnwb": [sys.executable, "-m", "parnwb"]}
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    done = run_mpi(RANKS, [*programs[program], *arguments], timeout=120, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def content(path: Path) -> tuple[list[str], int]:
    """Return the names of the acquired series, and the number of trials."""
    with NWBHDF5IO(path, "r") as io:
        file = io.read()
        return list(file.acquisition), len(file.trials)


def test_the_python_line(folder: Path) -> None:
    run(folder, "python convert.py")
    assert content(folder / "session.nwb") == (["ElectricalSeriesAP"], 2)


def test_the_yaml_command(folder: Path) -> None:
    run(folder, "parnwb convert sessions.yml")
    names = {path.name for path in (folder / "nwb").iterdir()}
    assert names == {"mouse1_day1.nwb", "sub-mouse1_ses-training.nwb"}
    assert content(folder / "nwb" / "mouse1_day1.nwb") == (["ElectricalSeriesAP"], 2)
    assert content(folder / "nwb" / "sub-mouse1_ses-training.nwb") == ([], 2)
