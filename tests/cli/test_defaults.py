"""Defaults of options: command line, environment, configuration files, in this order."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from docs.blocks import the_block
from mpi_launch import run_mpi

from parnwb.cli import start
from parnwb.cli.agreed import _word
from parnwb.cli.defaults import NEVER, places, read_defaults
from parnwb.cli.start import commands

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, a home and a site of their own."""
    for name in ("here", "home/parnwb", "site/parnwb"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    monkeypatch.delenv("PARNWB_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def parameters(*argv: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the parameters that the command of a command line is called with."""
    seen: dict[str, Any] = {}
    command = commands.commands[argv[0] if not argv[0].startswith("-") else argv[2]]
    original = command.callback
    command.callback = lambda **values: seen.update(values)
    try:
        done = CliRunner().invoke(commands, list(argv), env=env, auto_envvar_prefix="PARNWB")
    finally:
        command.callback = original
    assert done.exit_code == 0, done.output
    return seen


PLAN = ("plan", "rec", "--ranks", "2")


def test_what_goes_before_what(here: Path) -> None:
    assert parameters(*PLAN)["buffer_mb"] == 64
    (here / "site" / "parnwb" / "parnwb.toml").write_text("[plan]\nbuffer-mb = 1\ndecomposition = 'slab'\n")
    assert parameters(*PLAN)["buffer_mb"] == 1
    (here / "home" / "parnwb" / "parnwb.toml").write_text("[plan]\nbuffer-mb = 2\n")
    assert parameters(*PLAN)["buffer_mb"] == 2
    (here / "here" / "parnwb.toml").write_text("[plan]\nbuffer-mb = 3\n")
    assert parameters(*PLAN)["buffer_mb"] == 3
    assert parameters(*PLAN, env={"PARNWB_PLAN_BUFFER_MB": "4"})["buffer_mb"] == 4
    assert parameters(*PLAN, "--buffer-mb", "5", env={"PARNWB_PLAN_BUFFER_MB": "4"})["buffer_mb"] == 5
    assert parameters(*PLAN)["decomposition"] == "slab"


def test_the_file_that_readme_shows(here: Path) -> None:
    (here / "here" / "parnwb.toml").write_text(the_block("README.md", "buffer-mb = 128"))
    assert parameters("verify", "out.nwb")["watchdog"] == 1200
    found = parameters("convert", "rec", "out.nwb")
    assert (found["watchdog"], found["buffer_mb"]) == (1200, 128)


def test_one_file_that_is_named_is_the_only_one(here: Path) -> None:
    (here / "here" / "parnwb.toml").write_text("[plan]\nbuffer-mb = 3\n")
    (here / "mine.toml").write_text("[plan]\ndecomposition = 'block'\n")
    for found in (
        parameters("--config", str(here / "mine.toml"), *PLAN),
        parameters(*PLAN, env={"PARNWB_CONFIG": str(here / "mine.toml")}),
    ):
        assert (found["buffer_mb"], found["decomposition"]) == (64, "block")


def test_what_stands_before_the_tables_is_for_all_commands(here: Path) -> None:
    (here / "here" / "parnwb.toml").write_text("watchdog = 7\nquiet = true\n[verify]\nwatchdog = 8\n")
    assert parameters("convert", "a", "b")["watchdog"] == 7
    assert parameters("verify", "a")["watchdog"] == 8 and parameters("verify", "a")["quiet"] is True
    assert "watchdog" not in parameters(*PLAN)


def test_lists_and_queues(here: Path) -> None:
    (here / "here" / "parnwb.toml").write_text("[convert]\nqueue = ['/processing/*=0', '/a=1']\noption = ['a=b']\n")
    found = parameters("convert", "a", "b")
    assert found["queue"] == {"/processing/*": 0.0, "/a": 1.0} and found["options"] == ("a=b",)


@pytest.mark.parametrize(
    ("text", "queue"),
    [
        ("queue = 'largest'", "largest"),
        ("queue = '/a=1'", {"/a": 1.0}),
        ("queue = ['/a=1', '/b=2.5']", {"/a": 1.0, "/b": 2.5}),
        ("queue = {'/processing/*' = 0, '/a' = 1.5}", {"/processing/*": 0.0, "/a": 1.5}),
        ("[convert.queue]\n'/a' = 1", {"/a": 1.0}),
    ],
)
def test_what_may_be_repeated_may_be_given_once(here: Path, text: str, queue: object) -> None:
    for before in ("", "[convert]\n"):
        (here / "here" / "parnwb.toml").write_text(f"{'' if text.startswith('[') else before}{text}\n")
        assert parameters("convert", "a", "b")["queue"] == queue
    (here / "here" / "parnwb.toml").write_text("option = 'a=b'\n[repack]\ndataset = ['/a', 'chunks=auto']\n")
    assert parameters("convert", "a", "b")["options"] == ("a=b",)
    assert parameters("repack", "a", "b")["datasets"] == {"/a": {"chunks": "auto"}}
    (here / "here" / "parnwb.toml").write_text("[repack]\ndataset = [['/a', 'chunks=auto'], ['/b', 'chunks=own']]\n")
    assert list(parameters("repack", "a", "b")["datasets"]) == ["/a", "/b"]


def test_help_shows_the_defaults_that_hold(here: Path) -> None:
    (here / "here" / "parnwb.toml").write_text("[convert]\nbuffer-mb = 96\n")
    done = CliRunner().invoke(commands, ["convert", "--help"])
    assert "[default: 96" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[plan]\nbufer-mb = 3\n", "plan has no option --bufer-mb; see parnwb plan --help"),
        ("[pln]\nbuffer-mb = 3\n", "no command and no option is called 'pln'"),
        ("colour = 1\n", "no command and no option is called 'colour'"),
        ("[plan\n", "is no TOML"),
        ("[convert]\nbreak-lock = true\n", "--break-lock can be given on the command line only"),
        ("overwrite = true\n", "--overwrite can be given on the command line only"),
        ("[plan]\noption = {a = 1}\n", "parnwb.toml: --option takes no table, got one with a"),
        ("decomposition = ['slab']\n", "parnwb.toml: --decomposition takes one value, got a list of 1"),
        ("[repack]\ndataset = '/a'\n", "parnwb.toml: --dataset takes a list of 2 values, got '/a'"),
        ("[plan]\nbuffer-mb = 'big'\n", "Invalid value for '--buffer-mb': 'big'"),
    ],
)
def test_what_cannot_be_understood_is_refused(here: Path, text: str, words: str) -> None:
    (here / "here" / "parnwb.toml").write_text(text)
    done = CliRunner().invoke(commands, list(PLAN))
    assert done.exit_code == 2 and words in " ".join(done.output.split()), done.output


def test_a_file_that_is_named_must_exist(here: Path) -> None:
    done = CliRunner().invoke(commands, ["--config", "nowhere.toml", *PLAN])
    assert done.exit_code == 2 and "nowhere.toml cannot be read: No such file" in done.output


def test_where_files_may_be(here: Path) -> None:
    assert places() == [here / "site/parnwb/parnwb.toml", here / "home/parnwb/parnwb.toml", Path("parnwb.toml")]
    assert read_defaults(commands.commands, None) == {name: {} for name in commands.commands}


@pytest.mark.parametrize("name", ["convert", "repack", "merge", "split", "campaign"])
def test_dangerous_options_take_nothing_from_the_environment(name: str) -> None:
    argv = {"split": ("a", "b", "--part", "c", "d"), "campaign": ("a",)}.get(name, ("a", "b"))
    found = parameters(name, *argv, env={f"PARNWB_{name.upper()}_{option.upper()}": "1" for option in NEVER})
    given = {option: found[option] for option in NEVER if option in found}
    assert given and not any(given.values())


def test_ranks_of_other_defaults_are_refused(here: Path) -> None:
    """Configuration files and the environment may be others on another host."""
    options = {"convert": ("log-json", "a", "b.nwb"), "repack": ("log-json", "a", "b.nwb"), "verify": ("report", "a")}
    for name, (option, *paths) in options.items():
        variable = f"PARNWB_{name}_{option.replace('-', '_')}".upper()
        script = f'case "${{PMI_RANK:-$OMPI_COMM_WORLD_RANK}}" in 2) export {variable}=page.html;; esac; exec "$@"'
        parnwb = [sys.executable, "-m", "parnwb", name, *paths]
        done = run_mpi(3, ["bash", "-c", script, "sh", *parnwb], timeout=60, cwd=here)
        assert done.returncode == 1, done.stderr
        (said,) = [line for line in done.stderr.splitlines() if line.startswith("parnwb: ")]
        assert said.startswith(f"parnwb: --{option} must be the same on all ranks"), done.stderr
        assert "rank 2" in said and "parnwb.toml" in said, said


@pytest.mark.parametrize("name", list(commands.commands))
def test_every_command_has_examples_that_can_be_typed(name: str) -> None:
    command = commands.commands[name]
    examples = getattr(command, "examples", ())
    assert examples
    for line, _ in examples:
        words = line.split(" > ")[0].split()
        argv = words[words.index("parnwb") + 1 :]
        assert argv[0] == name
        command.make_context(name, argv[1:])  # raises where an option or an argument is none


def test_the_next_step_is_named_where_an_error_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["parnwb", "plan", "rec"])
    assert start._next_step(start.ParnwbError("bad")) == ". See parnwb plan --help"
    assert start._next_step(start.ParnwbError("bad", remedy="Do this")) == ""


def test_how_a_command_speaks_has_defaults_too(here: Path) -> None:
    (here / "here" / "parnwb.toml").write_text('progress = "plain"\n[verify]\nlog-json = "events.jsonl"\n')
    assert parameters("convert", "a", "b")["progress"] == "plain"
    assert parameters("convert", "a", "b", env={"PARNWB_CONVERT_PROGRESS": "terminal"})["progress"] == "terminal"
    found = parameters("verify", "a", "--verbose", env={"PARNWB_VERIFY_QUIET": "1"})
    assert (found["log_json"], found["verbose"], found["quiet"]) == ("events.jsonl", 1, True)


def test_what_differs_is_named_as_it_is_typed() -> None:
    context = commands.commands["convert"].make_context("convert", ["a", "b"])
    words = [_word(context, name) for name in ("options", "buffer_mb", "output")]
    assert words == ["--option", "--buffer-mb", "OUTPUT"]


def test_only_convert_speaks_of_specifications() -> None:
    for name, command in commands.commands.items():
        helped = " ".join(command.get_help(click.Context(command)).split())
        assert ("SPEC.yml what neuroconv chooses" in helped) == (name == "convert"), name
        if "virtual" in helped and "--backend" in helped:
            assert "--local" in helped, name
