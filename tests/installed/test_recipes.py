"""Recipes of other packagers ask for what pyproject.toml asks for; manual pages and completion are there."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from parnwb.cli.start import commands

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads TOML")
pytestmark = [pytest.mark.mpi_skip, pytest.mark.once]
ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# conda-forge's names where they are others.
CONDA = {"isal": "python-isal", "zlib-ng": "python-zlib-ng"}


def wanted() -> dict[str, str]:
    """Return the least release of each dependency."""
    needs = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    return {need.name: str(next(iter(need.specifier)).version) for need in map(Requirement, needs)}


def test_condas_recipe() -> None:
    recipe = yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text())
    sections = recipe["requirements"]["host"] + recipe["requirements"]["run"]
    found = dict(line.split(" >=") for line in sections if " >=" in line)
    expected = {CONDA.get(name, name): least for name, least in wanted().items()}
    assert found == {**expected, "python": PROJECT["project"]["requires-python"].removeprefix(">=")}
    known = {"schema_version", "context", "package", "source", "build", "requirements", "tests", "about", "extra"}
    assert set(recipe) == known and recipe["schema_version"] == 1


def test_condas_recipe_is_one_of_rattler_build() -> None:
    """What builds it reads it, refuses what it does not know, and renders it for each Python."""
    rattler = pytest.importorskip("rattler_build", reason='needs the extra "lint"')
    path = ROOT / "packaging/conda/recipe.yaml"
    with pytest.raises(rattler.RattlerBuildError, match="unknown top-level field"):
        rattler.Stage0Recipe.from_yaml(path.read_text().replace("requirements:", "requires:"))
    pythons = {"python": ["3.10.*", "3.13.*"], "c_compiler": ["gcc"], "c_stdlib": ["sysroot"]}
    variants = rattler.VariantConfig.from_yaml(yaml.safe_dump(pythons))
    platform = rattler.PlatformConfig(target_platform="linux-64")
    rendered = rattler.Stage0Recipe.from_file(path).render(variants, rattler.RenderConfig(platform=platform))
    recipes = [made.recipe.to_dict() for made in rendered]
    assert len(recipes) == len(pythons["python"]), "parnwb has compiled code, so there is a package for each"
    for recipe in recipes:
        assert recipe["package"] == {"name": "parnwb", "version": "0.1.0"}
        assert any("gcc" in need for need in recipe["requirements"]["build"])


def test_spacks_recipe() -> None:
    tree = ast.parse((ROOT / "packaging/spack/package.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    specs = [ast.literal_eval(c.args[0]) for c in calls if isinstance(c.func, ast.Name) and c.func.id == "depends_on"]
    found = dict(spec.rstrip(":").split("@") for spec in specs if "@" in spec)
    expected = {f"py-{name}": least for name, least in wanted().items()}
    assert found == {**expected, "python": PROJECT["project"]["requires-python"].removeprefix(">=")}


def test_citation_has_what_the_format_wants() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["authors"] == [{"name": "The parnwb developers"}]
    assert citation["license"] == PROJECT["project"]["license"]


def test_every_command_has_a_manual_page(tmp_path: Path) -> None:
    pytest.importorskip("click_man")
    program = ROOT / "packaging" / "man.py"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, program, tmp_path], check=True, timeout=60, env=env)
    expected = {"parnwb.1", *(f"parnwb-{name}.1" for name in commands.commands)}
    assert {path.name for path in tmp_path.iterdir()} == expected
    for name in ("", *commands.commands):
        text = (tmp_path / f"parnwb{name and '-'}{name}.1").read_text()
        assert text.count(".SH EXIT STATUS\n.TP\n\\fB0\\fP\n") == 1 and "PARNWB_CONVERT_BUFFER_MB=128" in text
        for line, purpose in getattr(commands.commands.get(name), "examples", ()):
            assert f"\\fB{line}\\fP\n{purpose}\n".replace("-", "\\-") in text


def test_pages_have_the_examples_of_every_command() -> None:
    """Sphinx-click reads ``epilog``, which help does not show twice (tests/cli/test_recorded.py)."""
    for command in commands.commands.values():
        examples = getattr(command, "examples", ())
        assert examples and all(f"    {line}\n        {purpose}" in str(command.epilog) for line, purpose in examples)
        lines = inspect.cleandoc(str(command.epilog)).splitlines()  # as sphinx-click does
        assert lines[2] == "::" and lines[4].startswith("    "), "the page would not show them as they are typed"
    assert "75\n" in str(commands.epilog)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    program = Path(sys.executable).with_name("parnwb")
    env = {**os.environ, "_PARNWB_COMPLETE": f"{shell}_source"}
    done = subprocess.run([program], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "_PARNWB_COMPLETE" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "found"),
    [("parnwb con", ["plain,convert"]), ("parnwb convert --over", ["plain,--overwrite"])],
)
def test_a_word_is_completed(words: str, found: list[str]) -> None:
    program = Path(sys.executable).with_name("parnwb")
    where = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    env = {**os.environ, **where, "_PARNWB_COMPLETE": "bash_complete"}
    done = subprocess.run([program], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == found
