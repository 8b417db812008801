"""What stands around the package: workflows call what is there, and forms for faults are what GitHub reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once]

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
FIELDS = {"textarea", "input", "dropdown", "checkboxes", "markdown"}


def read(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text())
    return found


@pytest.mark.parametrize("path", sorted(GITHUB.glob("workflows/*.yml")), ids=lambda path: path.name)
def test_workflows_call_what_is_there(path: Path) -> None:
    jobs = read(path)["jobs"]
    assert jobs and all(job["runs-on"] and job["steps"] for job in jobs.values())
    said = " ".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    assert set(re.findall(r"\bmake (\w+)", said)) <= TARGETS
    assert all((ROOT / name).is_file() for name in re.findall(r"(?<=\s)\.\w+/\w+", said))


def test_each_python_and_both_libraries_of_mpi_are_tried() -> None:
    jobs = read(GITHUB / "workflows" / "tests.yml")["jobs"]
    project = (ROOT / "pyproject.toml").read_text()
    assert set(jobs["installed"]["strategy"]["matrix"]["python"]) == set(re.findall(r"Python :: (3\.\d+)", project))
    suite = " ".join(step.get("run", "") for step in jobs["suite"]["steps"])
    assert ".ci/run" in suite and "make test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("path", sorted(GITHUB.glob("ISSUE_TEMPLATE/[!c]*.yml")), ids=lambda path: path.name)
def test_forms_have_what_github_wants(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    assert {field["type"] for field in form["body"]} <= FIELDS
    names = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert names and len(set(names)) == len(names)
