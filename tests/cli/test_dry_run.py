"""What a conversion refuses before it writes its dry run refuses too, with the same words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from failure.faults.in_movies import write_movie

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once]

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "program.py"
SPECIFICATION = """
data_interfaces: {raw: SpikeGLXRecordingInterface}
experiments:
  all:
    sessions:
      - %s
        source_data: {raw: {folder_path: rec, stream_id: imec0.ap}}
"""
NOWHERE = "nowhere/page.html"
REFUSED = {
    "data_folder": ["rec", "out.nwb", "--data-folder", "."],
    "option": ["rec", "out.nwb", "--option", "gain"],
    "report": ["rec", "out.nwb", "--report", NOWHERE],
    "report_folder_takes_nothing": ["rec", "out.nwb", "--report", "/proc/page.html"],
    "report_is_first": ["rec", "there.nwb", "--report", NOWHERE, "--log-json", "nowhere/log"],
    "log": ["rec", "there.nwb", "--log-json", "nowhere/log"],
    "output": ["rec", "there.nwb"],
    "folder": ["rec", "nowhere/out.nwb"],
    "folder_takes_nothing": ["rec", "/proc/out.nwb"],
    "lock": ["rec", "locked.nwb"],
    "no_copy": ["rec", "out.nwb", "--no-copy", "--metadata", "start.yaml"],
    "movies": ["film.avi", "made/film.nwb", "--interface", "ExternalVideoInterface", "--metadata", "start.yaml"],
    "source": ["rec/nothing", "out.nwb"],
    "spec_metadata": ["one.yml", "nwb", "--metadata", "nowhere.yaml"],
    "spec_option": ["one.yml", "nwb", "--option", "a=b"],
    "spec_no_copy": ["one.yml", "nwb", "--no-copy"],
    "spec_report": ["one.yml", "nwb", "--report", NOWHERE],
    "spec_log": ["one.yml", "nwb", "--log-json", "nowhere/log"],
    "spec_output": ["one.yml", "made"],
    "spec_folder": ["one.yml", "nowhere/nwb"],
    "spec_folder_is_none": ["one.yml", "there.nwb"],
    "spec_subject": ["anonymous.yml", "nwb"],
    "spec_compression": ["one.yml", "nwb", "--compression", "rar"],
}


@pytest.fixture(scope="module")
def folder(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a recording, two specifications and files that are in the way."""
    folder = tmp_path_factory.mktemp("dry")
    copytree(recording, folder / "rec")
    (folder / "one.yml").write_text(SPECIFICATION % "nwbfile_name: one")
    (folder / "anonymous.yml").write_text(SPECIFICATION % "conversion_options: {}")
    (folder / "start.yaml").write_text("NWBFile: {session_start_time: 2024-03-05T10:15:30+00:00}\n")
    (folder / "made").mkdir()
    if find_spec("av") is not None:  # refused without it as well, for another reason
        write_movie(folder / "film.avi", 3)
    for name in ("there.nwb", "made/one.nwb", "locked.nwb.lock"):
        (folder / name).write_text("")
    return folder


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what each command line printed, and as it ended; of dry runs under ``dry NAME``."""
    before = seen_in(folder)
    lines = [{"name": f"dry {name}", "argv": ["convert", *argv, "--dry-run"]} for name, argv in REFUSED.items()]
    lines += [{"name": name, "argv": ["convert", *argv]} for name, argv in REFUSED.items()]
    (folder.parent / "cases.json").write_text(json.dumps(lines))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PARNWB_CONFIG": os.devnull}
    command = [sys.executable, PROGRAM, folder.parent / "cases.json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stderr[-4000:]
    assert seen_in(folder) - before <= {"nwb"}, "which is made before sessions are opened"
    found = map(json.loads, done.stdout.splitlines())
    return {line["name"]: line["outcomes"][0] for line in found}


def seen_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def words(outcome: dict[str, Any]) -> str:
    """Return the last line, which is the error: a warning may come before it."""
    return str(outcome["err"].strip().splitlines()[-1])


@pytest.mark.parametrize("name", REFUSED)
def test_a_dry_run_refuses_what_the_conversion_refuses(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    dry, real = outcomes[f"dry {name}"], outcomes[name]
    assert real["status"] in (1, 2)
    assert (dry["status"], words(dry)) == (real["status"], words(real))
    assert not dry["out"], "it approves of nothing"
