"""Sizes of jobs, their scripts, and how they are followed, with a SLURM that is made of shell scripts."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from parnwb.cli.jobscript import _summary, jobscript
from parnwb.cli.options import planning, reading
from parnwb.errors import LaunchError, PlanError, SourceError
from parnwb.jobscript import Needs, SiteFile, follow, job_size, needs_of_plan, read_site, render, submit
from parnwb.model import Site

SITE = Path(__file__).parents[3] / "jobscripts" / "site.sh"
GB, MB = 10**9, 10**6
READS_UNSET = 'echo "read$NEVER_SET"; exit 7\n'
NEEDS = Needs(nbytes=100 * GB, buffer_bytes=320 * MB, pieces=20_000)


@pytest.fixture
def site(tmp_path: Path) -> SiteFile:
    return SiteFile(tmp_path / "site.sh", cores_per_node=16, memory_per_node_mb=64_000, rate_per_rank_mb=50.0)


# -- the site ------------------------------------------------------------------------------------------------


def test_the_site_file_that_users_get_says_what_there_is() -> None:
    assert read_site(SITE) == SiteFile(SITE)


def test_a_site_file_may_say_more(tmp_path: Path) -> None:
    path = tmp_path / "site.sh"
    lines = ["cores_per_node=48  # of 52", 'sbatch_options="--account=lab --partition=long"', "other=$(rm -rf /)"]
    path.write_text("\n".join([*lines, "costs=measured/site.json"]) + "\n")
    found = read_site(path)
    assert found.costs == tmp_path / "measured" / "site.json"
    assert (found.cores_per_node, found.sbatch_options) == (48, ("--account=lab", "--partition=long"))


@pytest.mark.parametrize("line", ["cores_per_node=many", "cores_per_node=", "rate_per_rank_mb=0"])
def test_what_is_no_number_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "site.sh").write_text(line + "\n")
    with pytest.raises(SourceError, match=line.partition("=")[0]):
        read_site(tmp_path / "site.sh")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('sbatch_options="--account=lab \\\n--partition=long"', "sbatch_options must stand on one line"),
        ("sbatch_options=--account=lab \\\n--partition=long", "sbatch_options must stand on one line"),
        ("sbatch_options=\"--comment='a\"", "sbatch_options must stand on one line, with its quotes closed"),
        ("cores_per_node=16 \\\n", "cores_per_node must be a number"),
    ],
)
def test_what_goes_on_in_the_next_line_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "site.sh").write_text(text)
    with pytest.raises(SourceError, match=f"{words}.*Correct it there"):
        read_site(tmp_path / "site.sh")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--account lab --partition=long", ("--account=lab", "--partition=long")),
        ("--exclusive --comment 'a b' -p long", ("--exclusive", "--comment=a b", "-plong")),
        ("-A lab --nice=-5 -Clarge", ("-Alab", "--nice=-5", "-Clarge")),
        ("", ()),
    ],
)
def test_an_option_and_its_value_may_be_two_words(tmp_path: Path, given: str, expected: tuple[str, ...]) -> None:
    (tmp_path / "site.sh").write_text(f'sbatch_options="{given}"\n')
    assert read_site(tmp_path / "site.sh").sbatch_options == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('sbatch_options="lab"', r"'lab' belongs to none.*Write it as in sbatch_options="),
        ('sbatch_options="--account=lab long"', "'long' belongs to none"),
        ('sbatch_options="--account lab long"', "'long' belongs to none"),
        ('sbatch_options="-A lab long"', "'long' belongs to none"),
        ('sbatch_options="-- lab"', "'lab' belongs to none"),
        ("sbatch_options=--account lab", r"one word for the shell.*sbatch_options=\"--account lab\""),
        ("cores_per_node=16 32", "cores_per_node must be one word for the shell"),
    ],
)
def test_words_that_belong_to_no_option_are_refused(tmp_path: Path, line: str, words: str) -> None:
    """The shell would run the second of two words that no quotes hold together, and sbatch passes over the others."""
    (tmp_path / "site.sh").write_text(line + "\n")
    with pytest.raises(SourceError, match=words):
        read_site(tmp_path / "site.sh")


def test_a_missing_site_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="site file cannot be read"):
        read_site(tmp_path / "no.sh")


# -- sizes ---------------------------------------------------------------------------------------------------


def test_as_few_nodes_as_finish_in_time(site: SiteFile) -> None:
    assert (job_size(NEEDS, site).nodes, job_size(NEEDS, site).tasks_per_node) == (1, 16)
    quick = job_size(NEEDS, site, minutes=1)
    assert (quick.nodes, quick.ranks) == (3, 36)


def test_memory_is_that_of_the_plan(site: SiteFile) -> None:
    size = job_size(NEEDS, site)
    assert size.memory_mb == 16 * 900  # (400 + 320) MB with a quarter more
    fat = job_size(Needs(100 * GB, 8 * GB, 20_000), site)
    assert fat.tasks_per_node * 10_500 == fat.memory_mb <= 64_000
    assert fat.cpus_per_task == 2  # cores that memory leaves idle
    with pytest.raises(PlanError, match="a rank needs about .* a node has 64000 MB"):
        job_size(Needs(100 * GB, 80 * GB, 20_000), site)


def test_time_has_a_margin_and_the_signal_comes_before(site: SiteFile) -> None:
    size = job_size(NEEDS, site, ranks=16)
    assert size.estimated_seconds == pytest.approx(2 * 125, rel=0.05)  # written and read again at 50 MB/s for each rank
    assert size.minutes == 15 and size.minutes * 60 > 2 * size.estimated_seconds
    assert size.signal_seconds == 225
    slow = job_size(NEEDS, site, ranks=16, rate_mb=0.1)
    assert (slow.minutes, slow.signal_seconds) == (site.longest_minutes, 300)


def test_time_is_the_models_and_what_limits_is_told(site: SiteFile, tmp_path: Path) -> None:
    size = job_size(NEEDS, site, ranks=16)
    assert size.limited_by == "codec"
    narrow = replace(site, file_system_mbs=100.0)
    slow = job_size(NEEDS, narrow, ranks=64)
    assert slow.limited_by == "file system"
    assert slow.estimated_seconds == pytest.approx(2 * 100_000 / 2.5 / 100, rel=0.05)
    assert slow.minutes * 60 >= 2 * slow.estimated_seconds
    tiny = job_size(replace(NEEDS, pieces=100_000_000), site, ranks=1000)
    assert tiny.limited_by == "allocator" and tiny.estimated_seconds > 2 * 100_000_000 * 18e-6
    text = render(narrow, slow, tmp_path / "r", tmp_path / "o.nwb")
    assert "about 13 minutes with verifying, limited by file system" in text


def test_ranks_that_gain_nothing_are_not_asked_for(site: SiteFile) -> None:
    """100 GB take some 400 s at 100 MB/s of stored bytes, whatever the number of ranks."""
    narrow = replace(site, file_system_mbs=100.0)
    size = job_size(NEEDS, narrow, minutes=1)
    assert size.nodes == 1 and size.limited_by == "file system"
    assert job_size(NEEDS, narrow, minutes=1, nodes=5).nodes == 5  # as asked for


def test_costs_that_were_measured_count_instead_of_the_pace_of_a_rank(site: SiteFile, tmp_path: Path) -> None:
    Site(read_mbs=2000.0, encode_mbs=500.0, write_mbs=2000.0).to_file(tmp_path / "costs.json")
    measured = replace(site, costs=tmp_path / "costs.json")
    assert job_size(NEEDS, measured, ranks=16).estimated_seconds < job_size(NEEDS, site, ranks=16).estimated_seconds / 3
    by_hand = [job_size(NEEDS, each, ranks=16, rate_mb=20.0).estimated_seconds for each in (measured, site)]
    assert by_hand == pytest.approx([2 * 100_000 / 16 / 20] * 2, rel=0.05)


def test_no_more_ranks_than_there_are_pieces(site: SiteFile) -> None:
    assert job_size(Needs(100 * GB, MB, 3), site, nodes=1).ranks == 3
    assert job_size(Needs(100 * GB, MB, 3), site, ranks=5).ranks == 5  # as asked for


@pytest.mark.parametrize(
    ("nodes", "ranks", "words"),
    [
        (1, 64, r"64 ranks do not fit on 1 node.s., .* has room for 16.*--nodes 4"),
        (4, 2, r"2 rank.s. leave 2 of 4 nodes without any.*--nodes 2"),
    ],
)
def test_nodes_and_ranks_that_contradict_each_other_are_refused(
    site: SiteFile, nodes: int, ranks: int, words: str
) -> None:
    with pytest.raises(PlanError, match=words):
        job_size(NEEDS, site, nodes=nodes, ranks=ranks)


def test_ranks_are_rounded_up_to_as_many_on_each_node_which_is_told(site: SiteFile) -> None:
    size = job_size(NEEDS, site, ranks=17)
    assert (size.nodes, size.tasks_per_node, size.ranks) == (2, 9, 18)
    assert "on 2 node(s) with 9 rank(s) each (18 for 17: as many on each), " in _summary(NEEDS, size)
    assert "(18 for 17: as" in _summary(NEEDS, job_size(replace(NEEDS, ranks=17), site))
    for exact in (job_size(NEEDS, site, ranks=32), job_size(NEEDS, site), job_size(NEEDS, site, nodes=3)):
        assert "as many" not in _summary(NEEDS, exact)


def test_stripes_follow_from_bytes_and_nodes(site: SiteFile) -> None:
    assert job_size(Needs(MB, MB, 1), site).stripes is None  # the folder's own may be more
    assert job_size(Needs(MB, MB, 1), site, stripes=1).stripes == 1
    assert job_size(NEEDS, site, nodes=4).stripes == 8
    assert job_size(NEEDS, site, stripes=5).stripes == 5


def test_a_plan_tells_what_is_needed() -> None:
    deflate = [[1, [4], "deflate"]]
    datasets = [{"shape": [100, 64], "chunks": [30, 64], "filters": deflate}]
    datasets += [{"shape": [5], "chunks": None, "filters": []}]
    plan = {"total_bytes": 10 * MB, "projected_memory_bytes": 8, "ranks": 9, "buffer_mb": 4, "datasets": datasets}
    assert needs_of_plan(plan) == Needs(10 * MB, 8, 5, 9, pytest.approx(2.1, rel=0.01), filtered=True)
    with pytest.raises(PlanError, match="not a plan's JSON"):
        needs_of_plan({"ranks": 2})


# -- the script ----------------------------------------------------------------------------------------------


def test_the_script_is_shell_and_asks_for_all_of_it(site: SiteFile, tmp_path: Path) -> None:
    odd = tmp_path / "it's a $recording"
    text = render(site, job_size(NEEDS, site), odd, tmp_path / "o.nwb", reading=["--metadata=a b"], converting=["-x"])
    (tmp_path / "script").write_text(text)
    subprocess.run(["bash", "-n", tmp_path / "script"], check=True, timeout=20)
    for line in ("nodes=1", "ntasks-per-node=16", "mem=14400M", "time=00:15:00", "signal=B:USR1@225", "requeue"):
        assert f"#SBATCH --{line}\n" in text
    assert "reading=('--metadata=a b')" in text
    said = subprocess.run(
        ["bash", "-c", f"{text.split('recording=')[0].split('source')[0]}\nrecording={_quoted(text)}; echo $recording"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert said.stdout.strip() == str(odd)


@pytest.mark.parametrize(
    ("option", "written"),
    [
        ("--comment=a b", '"--comment=a b"'),
        (r"""--comment=it's "#1" \ of 2""", r'''"--comment=it's \"#1\" \\ of 2"'''),
        ("--constraint=[a&b]|c", "--constraint=[a&b]|c"),
    ],
)
def test_options_of_sbatch_are_written_as_it_reads_them(
    site: SiteFile, tmp_path: Path, option: str, written: str
) -> None:
    """As ``sbatch -vv`` has shown what it found."""
    text = render(replace(site, sbatch_options=(option,)), job_size(NEEDS, site), tmp_path / "r", tmp_path / "o.nwb")
    assert f"\n#SBATCH {written}\n" in text


@pytest.mark.parametrize("stripes", [5, None])
def test_the_script_spreads_the_folder_before_it_converts(site: SiteFile, tmp_path: Path, stripes: int | None) -> None:
    """Over as many servers as the size says: 16 nodes fill twice as many, 100 GB are worth all of these."""
    size = job_size(NEEDS, site, nodes=16, stripes=stripes)
    small = job_size(replace(NEEDS, nbytes=MB), site, nodes=1)
    assert "stripe" not in render(site, small, tmp_path / "r", tmp_path / "o.nwb")
    lines = render(site, size, tmp_path / "r", tmp_path / "o.nwb").splitlines()
    expected = f'    stripe "$(dirname "$output")" {stripes or 32}'
    (place,) = (number for number, line in enumerate(lines) if line.lstrip().startswith("stripe "))
    assert lines[place] == expected
    assert lines[place + 1].lstrip().startswith("launch_and_requeue parnwb convert ")


def test_what_cannot_be_resumed_is_not_requeued(site: SiteFile, tmp_path: Path) -> None:
    size = job_size(NEEDS, site)
    file, store = (render(site, size, tmp_path / "r", tmp_path / name) for name in ("o.nwb", "o.nwb.zarr"))
    (tmp_path / "script").write_text(store)
    subprocess.run(["bash", "-n", tmp_path / "script"], check=True, timeout=20)
    assert "--resume" in file and "launch_and_requeue" in file and "#SBATCH --requeue\n" in file
    assert not any(word in store for word in ("--resume", "launch_and_requeue", "--requeue", "--signal", "journal"))
    assert 'launch parnwb convert "$recording" "$output" ${break_lock' in store and "#SBATCH --no-requeue\n" in store


@pytest.mark.parametrize(
    ("movies", "converted", "verified"),
    [
        ("keep", "--movies=keep --on-mismatch=raise --comp", '"$output" --against "$recording" "${reading[@]}"'),
        ("copy", "--movies=copy --on-mismatch=warn --comp", '"$output" --against "$recording" "${reading[@]}"'),
        ("move", "--movies=move --on-mismatch=raise --comp", '"$output"'),
        ("ingest", "reading=(--movies=ingest)", '"$output" --against "$recording" "${reading[@]}"'),
    ],
)
def test_the_script_says_what_becomes_of_movies(tmp_path: Path, movies: str, converted: str, verified: str) -> None:
    """Those that have moved cannot be compared with."""
    mismatch = ["--on-mismatch", "warn"] if movies == "copy" else []
    done = made(tmp_path, "--movies", movies, "--compression", "none", *mismatch)
    assert done.exit_code == 0, done.output
    assert converted in done.stdout
    assert done.stdout.endswith(f"\nlaunch_and_requeue parnwb verify {verified}\n")


OF_THE_SCRIPT = {
    "--interface": "Some",
    "--option": "a=b",
    "--metadata": "/m.yaml",
    "--compression": "gzip",
    "--chunks": "auto",
    "--decomposition": "slab",
    "--buffer-mb": "7",
    "--queue": "largest",
}


@pytest.mark.parametrize("options", [reading, planning])
def test_every_option_of_reading_and_planning_is_in_the_script(tmp_path: Path, options: Callable[..., Any]) -> None:
    """The plan by which the job was sized is not that of the job otherwise."""
    asked = [parameter.opts[0] for parameter in click.command()(options(lambda: None)).params]
    words = [f"{name}={OF_THE_SCRIPT[name]}" for name in asked]
    done = made(tmp_path, *words)
    assert done.exit_code == 0, done.output
    assert [word for word in words if word not in shlex.split(done.stdout.replace("(", " ").replace(")", " "))] == []


def made(folder: Path, *more: str) -> Result:
    """Return what the command says that has written a script from a plan."""
    plan = {"total_bytes": 10 * MB, "projected_memory_bytes": 8, "ranks": 1, "buffer_mb": 4, "datasets": []}
    (folder / "plan.json").write_text(json.dumps(plan))
    given = ["a.avi", "a.nwb", "--plan", str(folder / "plan.json"), "--site", str(SITE), *more]
    return CliRunner().invoke(jobscript, given)


def test_a_script_that_somebody_has_edited_is_not_replaced(tmp_path: Path) -> None:
    place = tmp_path / "job.sbatch"
    for _ in range(2):  # the same again is no loss
        assert made(tmp_path, "--script", str(place)).exit_code == 0
    edited = place.read_text() + "echo done\n"
    place.write_text(edited)
    done = made(tmp_path, "--script", str(place))
    assert done.exit_code != 0 and "is not replaced" in str(done.exception) + done.output
    assert place.read_text() == edited


def test_the_site_file_may_read_what_is_not_set(site: SiteFile, tmp_path: Path) -> None:
    text = render(site, job_size(NEEDS, site), tmp_path / "r", tmp_path / "o.nwb")
    site.path.write_text(READS_UNSET)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (7, "read\n"), done.stderr


def test_a_job_that_is_asked_to_stop_while_it_verifies_is_requeued(site: SiteFile, tmp_path: Path) -> None:
    """Also the script that users get; both have signals that would else be for nobody, or for the shell."""
    made = render(site, job_size(NEEDS, site), tmp_path / "r", tmp_path / "o.nwb")
    for script in (made, SITE.with_name("requeue.sbatch").read_text()):
        assert "\nlaunch_and_requeue parnwb verify " in script
    store = render(site, job_size(NEEDS, site), tmp_path / "r", tmp_path / "o.nwb.zarr")
    assert "\nlaunch parnwb verify " in store


def _quoted(text: str) -> str:
    return text.split("\nrecording=")[1].split("\n")[0]


# -- a SLURM of shell scripts --------------------------------------------------------------------------------


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put programs on the path whose answers are files: the n-th call of scontrol gives the n-th line."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text("#!/bin/sh\necho '17;cluster'\n")
    (programs / "scontrol").write_text(f"""#!/bin/sh
cd {tmp_path}
n=$(($(cat count 2> /dev/null || echo 0) + 1)); echo $n > count
[ $n -gt 1 ] && printf 'line %s, ' $n >> log
sed -n "$n p" answers | grep . || exit 1
""")
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("parnwb.jobscript.slurm.SHORTEST_PAUSE", 0.01)
    return tmp_path


def answer(slurm: Path, *states: str) -> None:
    lines = (f"JobId=17 {state} StdOut={slurm}/log" if state else "" for state in states)
    (slurm / "answers").write_text("\n".join(lines) + "\n")


def test_a_job_is_followed_to_its_end(slurm: Path) -> None:
    script = slurm / "script"
    script.write_text("")
    assert submit(script) == 17
    requeued = "JobState=PENDING Reason=BeginTime Restarts=1"
    running = "JobState=RUNNING NodeList=node[1-2] ExitCode=0:0"
    last = "JobState=COMPLETED ExitCode=0:0 Restarts=1"
    answer(slurm, "JobState=PENDING Reason=Priority", running, "", requeued, last)
    told: list[str] = []
    assert follow(17, told.append) == 0
    assert [text for text in told if text.startswith("job")] == [
        "job 17: PENDING (Priority)\n",
        "job 17: RUNNING on node[1-2]\n",
        "job 17: PENDING (BeginTime), requeued 1 time(s)\n",
        "job 17: COMPLETED, requeued 1 time(s)\n",
    ]
    assert "".join(text for text in told if not text.startswith("job")) == "line 2, line 3, line 4, line 5, "


@pytest.mark.parametrize(
    ("end", "status"),
    [("FAILED ExitCode=3:0", 3), ("TIMEOUT ExitCode=0:15", 143), ("NODE_FAIL ExitCode=0:0", 1)],
)
def test_the_exit_status_is_the_jobs(slurm: Path, end: str, status: int) -> None:
    answer(slurm, f"JobState={end}")
    assert follow(17, lambda text: None) == status


@pytest.mark.parametrize("state", ["BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED"])
def test_nobody_waits_for_a_job_that_has_ended_in_a_rare_way(slurm: Path, state: str) -> None:
    """Who asked again would hear of another end here."""
    answer(slurm, f"JobState={state} ExitCode=0:0", "JobState=COMPLETED ExitCode=0:0")
    assert follow(17, lambda text: None) == 1


def test_a_log_whose_folder_has_a_blank_is_read(slurm: Path) -> None:
    (slurm / "my jobs").mkdir()
    (slurm / "my jobs" / "log").write_text("all of it")
    log = f"JobState=COMPLETED ExitCode=0:0 Comment= StdOut={slurm}/my jobs/log Power= NtasksPerTRES:0"
    (slurm / "answers").write_text(f"JobId=17 JobName=a job {log}\n")
    told: list[str] = []
    assert follow(17, told.append) == 0
    assert told[1:] == ["all of it"]


def test_a_job_that_nobody_knows_is_an_error(slurm: Path) -> None:
    answer(slurm, "")
    with pytest.raises(LaunchError, match="scontrol refuses"):
        follow(18, lambda text: None)


def test_without_slurm_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="there is no sbatch here.*login node"):
        submit(tmp_path / "script")
