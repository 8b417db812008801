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


def _options(command: click.Command) -> dict[str, click.Option]:
    """Return options by their words without dashes."""
    named = [parameter for parameter in command.params if isinstance(parameter, click.Option) and parameter.name]
    return {word.lstrip("-"): option for option in named for word in option.opts}


def _for_all(
    path: Path, values: Mapping[str, Any], commands: Mapping[str, click.Command]
) -> Iterator[tuple[str, str, Any]]:
    """Iterate over command, parameter and value of what stands before all tables, for all that have the option."""
    for word, value in values.items():
        options = {name: _options(command).get(word) for name, command in commands.items()}
        if not any(options.values()):
            known = ", ".join(commands)
            raise click.UsageError(f"{path}: no command and no option is called {word!r}; commands are {known}")
        for name, option in options.items():
            if option is not None:
                yield name, _allowed(path, word, option), _value(path, word, value, option)


def _own(path: Path, name: str, table: Mapping[str, Any], command: click.Command) -> dict[str, Any]:
    known = _options(command)
    for word in table:
        if word not in known:
            raise click.UsageError(f"{path}: {name} has no option --{word}; see parnwb {name} --help")
    return {_allowed(path, word, known[word]): _value(path, word, value, known[word]) for word, value in table.items()}


def _allowed(path: Path, word: str, option: click.Option) -> str:
    if option.name in NEVER:
        raise click.UsageError(f"{path}: --{word} can be given on the command line only")
    return str(option.name)


def _value(path: Path, word: str, value: Any, option: click.Option) -> Any:
    """Return a value of TOML as click takes it: of an option that may be repeated, a list."""
    if isinstance(value, dict):
        if word != "queue":
            raise click.UsageError(f"{path}: --{word} takes no table, got one with {', '.join(value) or 'nothing'}")
        return [f"{pattern}={number}" for pattern, number in value.items()]
    if isinstance(value, list):
        if not (option.multiple or option.nargs != 1):
            raise click.UsageError(f"{path}: --{word} takes one value, got a list of {len(value)}")
        is_flat = option.multiple and option.nargs != 1 and not any(isinstance(item, list) for item in value)
        return [value] if is_flat else value
    if option.nargs != 1:
        raise click.UsageError(f"{path}: --{word} takes a list of {option.nargs} values, got {value!r}")
    return [value] if option.multiple else value
