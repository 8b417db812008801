"""What the reference takes from the source: contracts, messages, environment variables, exit codes."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_extensions"))

import error_messages  # noqa: E402
import public_calls  # noqa: E402

import parnwb  # noqa: E402
from parnwb import errors  # noqa: E402
from parnwb.cli.start import commands  # noqa: E402
from parnwb.interrupts import EX_TEMPFAIL  # noqa: E402

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once]

REFERENCE = ROOT / "docs" / "reference"
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*_[A-Za-z0-9_]+")
# Capitals in modules that look at the environment, which are no names of variables.
OTHER = {"LD_LIBRARY_PATH", "RLIMIT_NPROC"}


@pytest.mark.parametrize("call", list(public_calls.calls()), ids=lambda call: call.name)
def test_every_public_call_says_whether_it_is_collective(call: public_calls.Call) -> None:
    assert call.contract in ("collective", "independent"), (
        "the first paragraph of its docstring must say one of the two"
    )


def test_contracts_are_those_that_docstrings_say() -> None:
    said = {call.name: call.contract for call in public_calls.calls()}
    assert said["NWBParallelIO"] == said["NWBParallelIO.write"] == said["Distributed"] == "collective"
    assert said["NWBParallelIO.rows"] == said["DistributedRagged.columns"] == said["WritePlan.rounds"] == "independent"
    named = {name for name in parnwb.__all__ if not name.endswith("Error")}
    assert named <= set(said)


def test_every_public_name_is_on_a_page_of_the_api() -> None:
    listed = set(re.findall(r"^   ([\w.]+)$", (REFERENCE / "api.md").read_text(), flags=re.MULTILINE))
    assert set(parnwb.__all__) <= listed


def test_messages_are_found_with_their_remedies() -> None:
    messages = error_messages.messages()
    assert len(messages) > 250
    (found,) = (item for item in messages if item.rule.startswith("backend must be one of"))
    assert found == error_messages.Message("PlanError", "backend must be one of …, got …", "", "parnwb.site")
    assert any(item.remedy == "Pass comm=MPI.COMM_WORLD" for item in messages)
    assert {item.kind for item in messages} <= set(error_messages.kinds())


def test_errors_of_the_family_are_in_the_catalogue() -> None:
    family = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert family == set(error_messages.kinds())


def variables_in(path: Path) -> set[str]:
    """Return the names of environment variables that a module looks at, or has among its strings if it looks at any."""
    text = path.read_text()
    if "environ" not in text:
        return set()
    strings = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
    return {value for value in strings if isinstance(value, str) and VARIABLE.fullmatch(value)} - OTHER


def variables_of_click_in(path: Path) -> set[str]:
    """Return the names of environment variables that a module has click look at."""
    text = path.read_text()
    families = {f"{prefix}_COMMAND_OPTION" for prefix in re.findall(r'"auto_envvar_prefix": "(\w+)"', text)}
    return families | ({"XDG_CONFIG_HOME"} if "get_app_dir(" in text else set())


def all_variables() -> dict[str, str]:
    """Return the names of environment variables that parnwb looks at, with a module that does."""
    paths = (ROOT / "parnwb").rglob("*.py")
    return {name: path.name for path in paths for name in variables_in(path) | variables_of_click_in(path)}


def test_every_environment_variable_is_listed() -> None:
    page = (REFERENCE / "environment.md").read_text()
    used = all_variables()
    assert len(used) > 10 and {"PARNWB_COMMAND_OPTION", "XDG_CONFIG_HOME"} <= set(used)
    missing = {name: where for name, where in used.items() if f"`{name}`" not in page}
    assert not missing


def test_environment_variables_that_are_listed_as_ours_are_used() -> None:
    page = (REFERENCE / "environment.md").read_text()
    ours = page[page.index("## Read by parnwb") : page.index("## Read by the job scripts")]
    assert set(re.findall(r"`([A-Z]\w+)`", ours)) <= set(all_variables())


def odd_endings() -> dict[str, str]:
    """Return how the variables of some options end, as the page says; nothing for those that have none."""
    rows = re.findall(r"^\| (`--[^|]+) \| ([^|]+) \|$", (REFERENCE / "environment.md").read_text(), flags=re.MULTILINE)
    found = {}
    for options, said in rows:
        names = re.findall(r"`--([\w-]+)`", options)
        found |= dict(zip(names, re.findall(r"`_(\w+)`", said) or [""] * len(names), strict=True))
    return found


@pytest.mark.parametrize("name", list(commands.commands))
def test_variables_of_options_are_named_as_the_page_says(name: str) -> None:
    """Named by click after the parameter, which is not always the option."""
    odd = odd_endings()
    for option in (item for item in commands.commands[name].params if isinstance(item, click.Option)):
        word = next(word for word in option.opts if word.startswith("--")).removeprefix("--")
        ending = str(option.name).upper() if option.allow_from_autoenv else ""
        assert ending == odd.get(word, word.upper().replace("-", "_")), option.opts


def test_exit_codes_are_listed() -> None:
    listed = re.findall(r"^\| (\d+) \|", (REFERENCE / "exit-codes.md").read_text(), flags=re.MULTILINE)
    assert listed == ["0", "1", "2", str(EX_TEMPFAIL), "130"]
    start = (ROOT / "parnwb" / "cli" / "start.py").read_text()
    assert set(re.findall(r"sys\.exit\((\d+)\)", start)) <= set(listed)
