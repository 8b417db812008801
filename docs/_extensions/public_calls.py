"""Which public calls are collective and which independent, as their docstrings say."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import parnwb
import parnwb.neuroconv

# A sentence of its own, or the end of one: "Collective.", "All methods are collective", not "collective steps".
WORD = re.compile(r"(?:(?:^|[.;:)] )|\b(?:is|are) )(collective|independent)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Call:
    """A public call, and what its docstring says of it.

    Parameters
    ----------
    name
        As a program writes it.
    contract
        ``'collective'`` or ``'independent'``; None where nothing is said, or both.
    summary
        The first sentence of its docstring.
    """

    name: str
    contract: str | None
    summary: str


def calls() -> Iterator[Call]:
    """Iterate over the public calls, in alphabetical order and each class with its members."""
    for name in sorted(parnwb.__all__, key=str.lower):
        public = getattr(parnwb, name)
        if inspect.isclass(public):
            yield from [] if issubclass(public, Exception) else _class(name, public)
        else:
            yield _call(name, public, None)
    for name in parnwb.neuroconv.__all__:
        yield _call(f"neuroconv.{name}", getattr(parnwb.neuroconv, name), None)


def _class(name: str, public: type) -> Iterator[Call]:
    constructed = _call(name, public, None)
    yield constructed
    for member, value in vars(public).items():
        if member.startswith("_") or not (callable(value) or isinstance(value, classmethod | staticmethod | property)):
            continue
        # "Construction is collective." says nothing of methods, "... and all methods are collective." does.
        of_all = None if "Construction is" in _first_paragraph(public) else constructed.contract
        yield _call(f"{name}.{member}", getattr(public, member), of_all)


def _call(name: str, public: Any, otherwise: str | None) -> Call:
    text = _first_paragraph(public)
    said = {word.lower() for word in WORD.findall(text)}
    contract = said.pop() if len(said) == 1 else otherwise if not said else None
    sentence = re.split(r"(?<=[.;:]) (?=[A-Z])|; ", text)[0].rstrip(".")
    return Call(name, contract, sentence)


def _first_paragraph(public: Any) -> str:
    return " ".join((inspect.getdoc(public) or "").partition("\n\n")[0].split())
