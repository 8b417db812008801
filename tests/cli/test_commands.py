"""What the commands print: help, plans, progress in a log and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mpi_launch import run_mpi

from parnwb.recordings.made_recording import make_spikeglx_recording

# What commands print; that they do what they say with either MPI, test_bad_input and the contract show.
pytestmark = [pytest.mark.mpi_skip, pytest.mark.once]

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "program.py"
COMMANDS = ("campaign", "convert", "verify", "plan", "doctor", "demo", "jobscript", "merge", "repack", "split")
RANKS = (1, 2, 7, 100_000)
FRAME_BYTES = 2 * 385  # of a made recording: 384 channels and the sync channel
USAGE = {
    "unknown_flag": (["convert", "a", "b", "--overwrit"], ("No such option", "--overwrit")),
    "too_many_arguments": (["verify", "a", "b"], ("unexpected extra argument", "b")),
    "buffer_is_text": (["convert", "a", "b", "--buffer-mb", "big"], ("--buffer-mb", "big")),
    "output_is_missing": (["convert", "a"], ("Missing argument", "OUTPUT")),
    "metadata_for_a_specification": (["convert", "a.yml", "--metadata", "b"], ("--metadata", "specification")),
    "data_folder_for_a_recording": (["convert", "a", "b", "--data-folder", "c"], ("--data-folder", "specification")),
    "writers_are_negative": (["convert", "a", "b", "--writers-per-node", "-1"], ("--writers-per-node", "-1")),
    "site_is_missing": (["jobscript", "a", "b"], ("Missing option", "--site")),
    "no_copy_for_a_specification": (["convert", "a.yml", "--no-copy"], ("--no-copy", "specification")),
    "ranks_is_zero": (["plan", "a", "--ranks", "0"], ("--ranks", "0")),
    "queue_has_no_number": (["plan", "a", "--ranks", "2", "--queue", "/a=b"], ("--queue", "PATTERN=NUMBER")),
    "ranks_is_missing": (["plan", "a"], ("Missing option", "--ranks")),
}


@pytest.fixture(scope="module")
def without_mpi(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run command lines in one process in which MPI cannot be imported, and return what they printed."""
    lines = {"help": ["--help"], "version": ["--version"], "short_help": ["-h"]}
    lines |= {f"help_{command}": [command, "--help"] for command in COMMANDS}
    lines |= {f"plan_{ranks}": ["plan", str(recording), "--ranks", str(ranks)] for ranks in RANKS}
    lines |= {f"json_{ranks}": [*lines[f"plan_{ranks}"], "--json"] for ranks in RANKS}
    slow = ["--chunks", "auto", "--file-system-mbs", "0.1"]
    lines["plan_slow"] = ["plan", str(recording), "--ranks", "4", "--json", *slow]
    lines["plan_stripes"] = ["plan", str(recording), "--ranks", "4", "--stripes", "4"]
    lines["plan_missing"] = ["plan", str(recording / "nowhere"), "--ranks", "2"]
    lines["plan_bad_setting"] = ["plan", str(recording), "--ranks", "2", "--decomposition", "dice"]
    lines["jobscript"] = ["jobscript", str(recording), "out.nwb", "--site", str(ROOT / "jobscripts" / "site.sh")]
    lines |= {name: argv for name, (argv, _) in USAGE.items()}
    folder = tmp_path_factory.mktemp("without_mpi")
    cases = [{"name": name, "argv": argv} for name, argv in lines.items()]
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, PROGRAM, folder / "cases.json", "--without-mpi"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stderr[-4000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [path.name for path in folder.iterdir()] == ["cases.json"], "planning wrote something"
    return {line["name"]: line["outcomes"][0] for line in results}


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "120", **more}


@pytest.mark.parametrize("name", ["help", "short_help", *(f"help_{command}" for command in COMMANDS)])
def test_help_needs_no_mpi(without_mpi: dict[str, Any], name: str) -> None:
    result = without_mpi[name]
    assert (result["status"], result["err"]) == (0, ""), result
    assert "Usage:" in result["out"]
    assert max(map(len, result["out"].splitlines())) <= 120


def test_help_lists_all_commands(without_mpi: dict[str, Any]) -> None:
    listed = without_mpi["help"]["out"].split("Commands:")[1].split("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines() if line.startswith("  ")] == sorted(COMMANDS)


def test_a_jobscript_needs_no_mpi(without_mpi: dict[str, Any]) -> None:
    result = without_mpi["jobscript"]
    assert result["status"] == 0, result
    assert result["out"].startswith("#!/usr/bin/env bash\n#SBATCH --job-name=parnwb-out\n")
    assert "launch_and_requeue parnwb convert" in result["out"] and "on 1 node(s)" in result["err"]


def test_version(without_mpi: dict[str, Any]) -> None:
    assert re.search(r"\d+\.\d+", without_mpi["version"]["out"]), without_mpi["version"]


@pytest.mark.parametrize("name", USAGE)
def test_usage_errors(without_mpi: dict[str, Any], name: str) -> None:
    result = without_mpi[name]
    assert (result["status"], result["out"]) == (2, ""), result
    assert result["err"].count("Error:") == 1 and "Traceback" not in result["err"], result["err"]
    assert all(part in result["err"] for part in USAGE[name][1]), result["err"]


@pytest.mark.parametrize("name", ["plan_missing", "plan_bad_setting"])
def test_plan_errors(without_mpi: dict[str, Any], name: str) -> None:
    result = without_mpi[name]
    assert (result["status"], result["out"]) == (1, ""), result
    errors = [line for line in result["err"].splitlines() if not line.startswith("parnwb: warning:")]
    assert len(errors) == 1 and errors[0].startswith("parnwb: "), result["err"]


@pytest.mark.parametrize("ranks", RANKS)
def test_plan_needs_no_mpi_and_little_time(without_mpi: dict[str, Any], ranks: int) -> None:
    result = without_mpi[f"plan_{ranks}"]
    assert result["status"] == 0, result
    assert result["seconds"] < 20
    assert "ElectricalSeriesAP" in result["out"]
    assert f"{ranks} rank" in result["out"] and "memory MB" in result["out"]
    assert len(result["out"].splitlines()) < 100
    assert "limited by" in result["out"] and "one root gives addresses" in result["out"]


@pytest.mark.parametrize("ranks", RANKS)
def test_plan_as_json(without_mpi: dict[str, Any], ranks: int) -> None:
    result = without_mpi[f"json_{ranks}"]
    assert result["status"] == 0, result
    assert result["seconds"] < 40
    plan = json.loads(result["out"])
    assert plan["ranks"] == ranks == len(plan["shares"])
    assert sum(share["bytes"] for share in plan["shares"]) == plan["total_bytes"] > 0
    memory = [share["projected_memory_bytes"] for share in plan["shares"]]
    assert 0 < max(memory) <= plan["projected_memory_bytes"]
    assert min(memory) == 0 or ranks < 100_000  # who has nothing to write needs no buffer


@pytest.fixture
def ten_terabytes(tmp_path: Path) -> Path:
    """A recording whose samples are a hole of 10 TB, and whose meta file says so."""
    run = make_spikeglx_recording(tmp_path, megabytes=1)
    binary = next(run.rglob("*.ap.bin"))
    meta = binary.with_suffix(".meta")
    frames = 10**13 // FRAME_BYTES
    try:
        os.truncate(binary, frames * FRAME_BYTES)
    except OSError as error:
        pytest.skip(f"the file system of {tmp_path} has no files of 10 TB: {error}")
    said = {"fileSizeBytes": str(frames * FRAME_BYTES), "fileTimeSecs": f"{frames / 30000:.6f}"}
    lines = (line.split("=", 1) for line in meta.read_text().splitlines())
    meta.write_text("".join(f"{name}={said.get(name, value)}\n" for name, value in lines))
    return run


def test_plan_of_ten_terabytes_on_a_hundred_thousand_ranks_takes_seconds(ten_terabytes: Path) -> None:
    command = [sys.executable, "-m", "parnwb", "plan", ten_terabytes, "--ranks", "100000", "--chunks", "auto"]
    command += ["--stripes", "64", "--stripe-mbs", "1000"]  # nothing else is known of the file system
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "10000000.0 MB in all" in done.stdout and "99984 more ranks" in done.stdout
    seconds, rate = re.search(r"about (\d+) s \((\d+) MB/s of data\), limited by file system", done.stdout).groups()
    assert int(seconds) == pytest.approx(10**7 / int(rate), rel=0.05)
    # 64 servers of 1000 MB/s, of 2 to 4 times as many bytes as are stored.
    assert 2 * 64_000 < int(rate) < 4 * 64_000
    processor = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    assert processor < 15  # where 2 to 3 are usual


def test_stripes_mean_something_only_if_it_is_known_what_one_takes(without_mpi: dict[str, Any]) -> None:
    result = without_mpi["plan_stripes"]
    assert result["status"] == 1 and "--stripes 4 says nothing" in result["err"] and "--stripe-mbs" in result["err"]


def test_plan_of_a_slow_file_system(without_mpi: dict[str, Any]) -> None:
    result = without_mpi["plan_slow"]
    assert result["status"] == 0, result
    plan = json.loads(result["out"])
    assert plan["prediction"]["limit"] == "file system"
    assert plan["prediction"]["seconds"] > plan["prediction"]["phases"]["file system"] > 1


# -- progress --------------------------------------------------------------------------------------------


def test_progress_in_a_log_is_plain_lines(recording: Path, tmp_path: Path) -> None:
    output = tmp_path / "session 1 é.nwb"
    argv = ["convert", recording, output.name]
    done = run_mpi(2, [sys.executable, "-m", "parnwb", *argv], timeout=90, env=environment(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert output.exists() and list(tmp_path.iterdir()) == [output]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stderr + done.stdout), "control characters in a log"
    progress = [line for line in done.stderr.splitlines() if line.startswith("writing ")]
    rate = r"writing .*: 100 % of 2 MB, \d+ MB/s, ratio [\d.]+"
    assert progress and re.fullmatch(rf"{rate}; /acquisition/\w+/data 100 %, 2 of 2 datasets complete", progress[-1])
    assert str(output) in done.stdout and "MB/s on 2 rank" in done.stdout


def test_quiet_says_nothing(recording: Path, tmp_path: Path) -> None:
    argv = ["convert", recording, tmp_path / "out.nwb", "--quiet"]
    done = run_mpi(2, [sys.executable, "-m", "parnwb", *argv], timeout=90, env=environment())
    said = [line for line in done.stderr.splitlines() if not line.startswith("parnwb: warning:")]
    assert (done.returncode, done.stdout, said) == (0, "", [])


@pytest.mark.parametrize("command", ["convert", "convert_bad"])
def test_progress_on_a_terminal_is_a_bar(recording: Path, tmp_path: Path, command: str) -> None:
    argv = ["convert", recording, tmp_path / "out.nwb", "--compression", "auto"]
    if command == "convert_bad":
        argv[1] = recording / "nowhere"
    status, shown = on_a_terminal([sys.executable, "-m", "parnwb", *map(str, argv)], seconds=60)
    visible = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    if command == "convert_bad":
        assert status == 1 and visible.count("must exist") == 1
        assert "\x1b[?25l" not in shown or "\x1b[?25h" in shown, "the cursor stays hidden"
        return
    assert status == 0, visible
    assert "writing out.nwb" in visible and "MB/s" in visible
    assert "\x1b" in shown, "nothing that moves was shown"
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h"), "the cursor stays hidden"
    assert visible.rstrip().endswith("and what they have done can be resumed"), visible[-400:]


def on_a_terminal(command: list[str], *, seconds: float) -> tuple[int, str]:
    """Run a program on a pseudo-terminal of its own and return its exit status and all that it showed."""
    inherited = {name: value for name, value in environment().items() if not name.startswith(("PMI", "OMPI_COMM"))}
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(command[0], command, {**inherited, "TERM": "xterm"})
    shown, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the program has ended
            break
        shown += piece
    else:
        os.kill(process, signal.SIGKILL)
    os.close(terminal)
    status = os.waitpid(process, 0)[1]
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


# -- demo ------------------------------------------------------------------------------------------------


def demo(folder: Path, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``parnwb demo``, which starts ranks itself, under a clock that ends the launcher too."""
    argv = ["timeout", "--kill-after=5", "150", sys.executable, "-m", "parnwb", "demo", "--folder", str(folder), *more]
    return subprocess.run(argv, env=environment(**env), capture_output=True, text=True, timeout=170, cwd=folder.parent)


def test_demo_makes_converts_and_verifies(tmp_path: Path) -> None:
    done = demo(tmp_path / "demo", "--megabytes", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mpiexec -n 2 parnwb convert" in done.stdout and "mpiexec -n 3 parnwb verify" in done.stdout
    assert "GOOD" in done.stdout and "MB/s on 2 rank(s)" in done.stdout and "--ranks 64" in done.stdout
    assert (tmp_path / "demo" / "demo.nwb").stat().st_size > 0
    next_command = next(line.split() for line in done.stdout.splitlines() if line.strip().endswith("--ranks 64"))
    after = [sys.executable, "-m", *next_command]
    after[2] = "parnwb"
    planned = subprocess.run(after, env=environment(), capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert planned.returncode == 0 and "64 ranks" in planned.stdout, planned.stderr


def test_a_demo_on_ranks_that_are_there_starts_no_others(mpiexec: Callable[..., Any], tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "parnwb", "demo", "--megabytes", "2", "--folder", str(tmp_path / "demo")]
    done = mpiexec(2, argv, timeout=150, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MB/s on 2 rank(s)" in done.stdout and "GOOD" in done.stdout
    assert done.stdout.count("Making a Neuropixels") == done.stdout.count("Done in") == 1


def test_demo_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("years of work")
    done = demo(folder)
    assert done.returncode == 1 and done.stderr.count("parnwb:") == 1 and str(folder) in done.stderr
    assert (folder / "chapter.tex").read_text() == "years of work"
    (tmp_path / "a file").write_text("")
    done = demo(tmp_path / "a file")
    assert done.returncode == 1 and "Traceback" not in done.stderr and "is a file" in done.stderr


def test_no_mpi_library_is_told_with_the_remedy(recording: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "parnwb", "convert", str(recording), str(tmp_path / "out.nwb")]
    env = environment(MPI4PY_LIBMPI=str(tmp_path / "libmpi.so"))
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.count("parnwb:") == 1, done.stderr
    assert "no MPI library" in done.stderr and "parnwb[mpich]" in done.stderr and "Traceback" not in done.stderr
