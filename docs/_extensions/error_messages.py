"""All messages that parnwb raises on purpose, as its source has them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from parnwb import errors

PACKAGE = Path(errors.__file__).parent


@dataclass(frozen=True, order=True)
class Message:
    """What one ``raise`` says.

    Parameters
    ----------
    kind
        Name of the exception's class.
    rule
        The message; what is known only when it is raised is an ellipsis.
    remedy
        What the user can do about it, or nothing.
    module
        Where it is raised.
    """

    kind: str
    rule: str
    remedy: str
    module: str


def kinds() -> dict[str, str]:
    """Return the classes of errors with the first sentence of each, the base first."""
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    return {kind.__name__: (inspect.getdoc(kind) or "").partition("\n")[0] for kind in classes}


def messages() -> list[Message]:
    """Return all messages, sorted by class and text."""
    return sorted({message for path in PACKAGE.rglob("*.py") for message in _messages_in(path)})


def _messages_in(path: Path) -> Iterator[Message]:
    module = path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    known, tree = set(kinds()), ast.parse(path.read_text())
    constants = {
        target.id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known and node.args):
            continue
        remedy = next((keyword.value for keyword in node.keywords if keyword.arg == "remedy"), None)
        rule = _text(node.args[0], constants)
        if rule.strip("… "):  # else it passes on what another has said
            yield Message(node.func.id, rule, _text(remedy, constants) if remedy is not None else "", module)


def _text(node: ast.expr, constants: Mapping[str, ast.expr]) -> str:
    """Return a string as it stands in the source, an ellipsis for each part that is computed."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Constant(value=None):
            return ""
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, constants) for part in parts)
        case ast.FormattedValue(value=ast.Name(id=name)) | ast.Name(id=name) if name in constants:
            return _text(constants[name], constants)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left, constants) + _text(right, constants)
        case ast.IfExp(body=body, orelse=orelse):
            return " / ".join(filter(None, [_text(body, constants), _text(orelse, constants)]))
        case _:
            return "…"
