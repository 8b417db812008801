"""A page by itself, or a part of another one such as a notebook; both have their style in them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from parnwb.drawing.markup import Markup, tag


@cache
def style() -> Markup:
    """Return the style sheet: it says nothing about anything outside of ``.parnwb``."""
    return Markup(files("parnwb.drawing").joinpath("page.css").read_text(encoding="utf-8"))


def fragment(*content: Markup) -> Markup:
    """Return a part of a page."""
    return tag("div", tag("style", style()), *content, class_="parnwb")


def page(title: str, *content: Markup) -> str:
    """Return a whole page, which loads nothing."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", style()),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', tag('main', *content), class_='parnwb'), lang='en')}\n"
