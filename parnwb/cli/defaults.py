"""Defaults for options from configuration files, which the environment and the command line go before."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

NAME = "parnwb.toml"
# What is right for one job only.
NEVER = ("break_lock", "dry_run", "inplace", "overwrite")


def places() -> list[Path]:
    """Return where configuration files may be; later ones go before earlier ones: site, user, working folder."""
    sites = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    folders = [Path(folder) / "parnwb" for folder in reversed(sites.split(os.pathsep)) if folder]
    return [*(folder / NAME for folder in (*folders, Path(click.get_app_dir("parnwb")))), Path(NAME)]


def read_defaults(commands: Mapping[str, click.Command], chosen: Path | None) -> dict[str, dict[str, Any]]:
    """Return defaults by command and by the name of its parameter. Independent.

    Parameters
    ----------
    commands
        All of them, by name.
    chosen
        The only file that is read; None for those of ``places`` that exist.

    Raises
    ------
    click.UsageError
        A file cannot be read, or says what no command understands.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in commands}
    for path in [chosen] if chosen is not None else [place for place in places() if place.is_file()]:
        values = _read(path)
        tables = {name: values.pop(name) for name in commands if isinstance(values.get(name), dict)}
        for command, key, value in _for_all(path, values, commands):
            found[command][key] = value
        for command, table in tables.items():
            found[command].update(_own(path, command, table, commands[command]))
    return found


def _read(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise click.UsageError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise click.UsageError(f"the configuration {path} is no TOML: {error}") from error


def _options(command: click.Command) -> dict[str, str]:
    """Return the names of parameters by their options without dashes."""
    named = [parameter for parameter in command.params if isinstance(parameter, click.Option) and parameter.name]
    return {word.lstrip("-"): str(option.name) for option in named for word in option.opts}


def _for_all(
    path: Path, values: Mapping[str, Any], commands: Mapping[str, click.Command]
) -> Iterator[tuple[str, str, Any]]:
    """Iterate over command, parameter and value of what stands before all tables, for all that have the option."""
    for word, value in values.items():
        names = {name: _options(command).get(word) for name, command in commands.items()}
        if isinstance(value, dict) or not any(names.values()):
            known = ", ".join(commands)
            raise click.UsageError(f"{path}: no command and no option is called {word!r}; commands are {known}")
        for name, key in names.items():
            if key is not None:
                yield name, _allowed(path, word, key), value


def _own(path: Path, name: str, table: Mapping[str, Any], command: click.Command) -> dict[str, Any]:
    known = _options(command)
    for word in table:
        if word not in known:
            raise click.UsageError(f"{path}: {name} has no option --{word}; see parnwb {name} --help")
    return {_allowed(path, word, known[word]): value for word, value in table.items()}


def _allowed(path: Path, word: str, key: str) -> str:
    if key in NEVER:
        raise click.UsageError(f"{path}: --{word} can be given on the command line only")
    return key
