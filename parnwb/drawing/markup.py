"""HTML and SVG put together from elements, in which text cannot become markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = ("meta", "br")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *content: str | Iterable[str] | None, **attributes: object) -> Markup:
    """Return an element.

    Parameters
    ----------
    content
        Markup, text, or several of them one after another; None for nothing.
    attributes
        ``_`` stands for ``-``, and may follow a name that is Python's. Those that are None are left out.
    """
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{words}>")
    return Markup(f"<{name}{words}>{joined(*content)}</{name}>")


def joined(*content: str | Iterable[str] | None) -> Markup:
    """Return what is given, one after another, with text escaped."""
    return Markup("".join(_pieces(content)))


def _pieces(content: Iterable[str | Iterable[str] | None]) -> Iterable[str]:
    for item in content:
        if isinstance(item, Markup):
            yield item
        elif isinstance(item, str):
            yield escape(item)
        elif item is not None:
            yield from _pieces(item)
