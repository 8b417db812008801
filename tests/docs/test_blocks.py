"""Every code block of README and pages runs as it stands, or says why it does not."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from docs.blocks import ROOT, Block, all_blocks, blocks, python_blocks
from mpi_launch import mpiexec_path, run_launcher, run_mpi

from parnwb.recordings.made_recording import make_spikeglx_recording

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once, pytest.mark.filterwarnings("ignore")]

RANKS = 2  # pages say more
COMMANDS = [block for block in all_blocks() if block.is_run_here and block.language == "sh"]
SHELL = [block for block in COMMANDS if not block.starts_its_page]
RUN_BY = re.compile(r"run by (tests/[\w/]+\.py)$")
NOT_RUN = re.compile(r"not run: (.+)$", re.DOTALL)
SESSIONS = "sessions:\n- {source: RECORDING, output: one.nwb}\n- {source: RECORDING, output: two.nwb}\n"
METADATA = "NWBFile:\n  session_start_time: 2024-03-05T10:15:30+00:00\n"


def test_there_are_blocks_to_run() -> None:
    assert len(SHELL) > 2 and sum(map(len, python_blocks().values())) > 8


@pytest.mark.parametrize("block", all_blocks(), ids=str)
def test_every_block_is_run_or_says_why_not(block: Block) -> None:
    assert block.language, "indented: put it between ```LANGUAGE and ```"
    if not block.mark:
        assert block.language in ("python", "sh", "text"), f"nothing runs {block.language}: say why before it"
    elif by := RUN_BY.fullmatch(block.mark):
        assert block.is_run_by(ROOT / by.group(1)), f"{by.group(1)} does not take this block"
    else:
        reason = NOT_RUN.fullmatch(block.mark)
        assert reason, f"not understood: {block.mark}"
        assert len(reason.group(1).split()) >= 4, "a reason that others can judge"
        for test in re.findall(r"tests/[\w/]+\.py", reason.group(1)):
            assert (ROOT / test).is_file()


@pytest.mark.parametrize(
    ("source", "of_page", "is_run"),
    [
        ('"""docs/queue.md is tested."""', True, False),
        ('PAGE = ROOT / "docs" / "queue.md"\nTEXT = PAGE.read_text()', True, True),
        ('for block in blocks(ROOT / "docs" / "queue.md"): run(block)', True, True),
        ('for block in blocks(ROOT / "docs" / "queue.md"): run(block)', False, False),
        ('PAGE = ROOT / "docs" / "queue.md"', True, False),
        ('CODE = """\nparnwb none\n"""', False, True),
    ],
)
def test_what_counts_as_running_a_block(tmp_path: Path, source: str, of_page: bool, is_run: bool) -> None:
    (tmp_path / "test.py").write_text(source)
    block = Block("docs/queue.md", 1, "sh", "parnwb none\n", "run by test.py", of_page=of_page)
    assert block.is_run_by(tmp_path / "test.py") == is_run


def test_a_block_that_is_taken_is_run_and_its_neighbours_are_not(tmp_path: Path) -> None:
    (tmp_path / "test.py").write_text('CELL = the_block("docs/howto/notebooks.md", "PMI_")')
    run = [block.is_run_by(tmp_path / "test.py") for block in blocks(ROOT / "docs/howto/notebooks.md")]
    assert len(run) == 2 and run == [False, True]


def test_tutorials_say_how_they_are_run() -> None:
    """As the build of the pages runs them."""
    starting = [block for block in COMMANDS if block.starts_its_page]
    assert starting and {block.page for block in COMMANDS if "tutorials" in block.page}
    for block in starting:
        ranks = re.search(r"^# sphinx_gallery_ranks = (\d+)$", (ROOT / block.page).read_text(), re.MULTILINE)
        assert ranks and block.code == f"mpiexec -n {ranks.group(1)} python {Path(block.page).name}\n"


def test_python_blocks(tmp_path: Path) -> None:
    program = Path(__file__).with_name("blocks_program.py")
    environment = {"PYTHONPATH": str(ROOT)}
    done = run_mpi(RANKS, [sys.executable, "-W", "ignore", program], timeout=120, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: ") == len(python_blocks())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with what the commands of pages name, and an mpiexec that starts fewer ranks than they say."""
    for name in ("RECORDING", "recording"):
        make_spikeglx_recording(tmp_path / name, megabytes=2)
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "session.yaml").write_text(METADATA)
    (tmp_path / "sessions.yaml").write_text(SESSIONS)
    programs = tmp_path / "bin"
    programs.mkdir()
    launcher = f'shift 2\nexec {shlex.quote(mpiexec_path())} -n {RANKS} "$@"\n'
    for name, text in {"mpiexec": launcher, "parnwb": f'exec {shlex.quote(sys.executable)} -m parnwb "$@"\n'}.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}")
        (programs / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_shell_blocks(block: Block, folder: Path) -> None:
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TMPDIR": "/tmp"}
    done = run_launcher(["bash", "-eu", "-c", block.code], timeout=120, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
