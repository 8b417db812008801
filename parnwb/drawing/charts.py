"""Charts: drawings that stretch to any width, with their words beside them as HTML, which does not stretch.

Each chart has a sentence that says what it shows; to those who do not see it, it is that sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from parnwb.drawing.markup import Markup, joined, tag

HEIGHT = 100


@dataclass(frozen=True)
class Box:
    """A part of a rectangle, in fractions of its width and height.

    Parameters
    ----------
    left, top, width, height
        Between 0 and 1.
    colour
        Number of a colour.
    label
        Is shown where there is room.
    """

    left: float
    top: float
    width: float
    height: float
    colour: int
    label: str


COLOURS = 8
LABEL_WIDTH, LABEL_HEIGHT = 0.09, 0.3
"""What a box needs for its label, of a drawing that is 300 by 48 pixels at least."""


def boxes(sentence: str, parts: Iterable[Box]) -> Markup:
    """Return a rectangle with coloured parts."""
    return tag("div", (_box(part) for part in parts), class_="boxes", role="img", aria_label=sentence)


def _box(part: Box) -> Markup:
    place = {"left": part.left, "top": part.top, "width": part.width, "height": part.height}
    style = ";".join(f"{name}:{100 * share:.3f}%" for name, share in place.items())
    fits = part.width >= LABEL_WIDTH and part.height >= LABEL_HEIGHT
    return tag("div", part.label if fits else None, class_=f"box c{part.colour % COLOURS}", style=style)


def stacked(sentence: str, series: Mapping[str, Sequence[float]], largest: float) -> Markup:
    """Return columns of several values on top of each other.

    Parameters
    ----------
    series
        Values by the name of their class in the style sheet, from below.
    largest
        What fills the whole height.
    """
    count = max((len(values) for values in series.values()), default=1)
    base = [0.0] * count
    paths = []
    for name, values in series.items():
        top = [low + HEIGHT * value / largest for low, value in zip(base, values, strict=True)]
        paths.append(tag("path", d=_columns(base, top), class_=name))
        base = top
    return _svg(sentence, count, paths)


def columns(sentence: str, values: Sequence[float], largest: float, name: str) -> Markup:
    """Return a column for each value."""
    return stacked(sentence, {name: values}, largest)


def _columns(base: Sequence[float], top: Sequence[float]) -> str:
    """Return the outlines of columns; neighbours that are alike are one."""
    drawn = []
    rounded = [(round(low, 1), round(high, 1)) for low, high in zip(base, top, strict=True)]
    place = 0
    while place < len(rounded):
        low, high = rounded[place]
        end = place + 1
        while end < len(rounded) and rounded[end] == (low, high):
            end += 1
        if high > low:
            drawn.append(f"M{place} {HEIGHT - low:g}V{HEIGHT - high:g}H{end}V{HEIGHT - low:g}z")
        place = end
    return "".join(drawn)


def _svg(sentence: str, width: float, content: Iterable[Markup]) -> Markup:
    box = f"0 0 {width:g} {HEIGHT}"
    return tag("svg", content, viewBox=box, preserveAspectRatio="none", role="img", aria_label=sentence)


def area(sentence: str, upper: Sequence[float], lower: Sequence[float], largest: float) -> Markup:
    """Return two curves over the same axis, the upper one filled, the lower one filled over it."""
    count = len(upper)
    shapes = [
        tag("path", d=_columns([0.0] * count, [HEIGHT * value / largest for value in values]), class_=name)
        for name, values in (("raw", upper), ("stored", lower))
    ]
    return _svg(sentence, count, shapes)


def bar(sentence: str, value: float, mark: float | None, largest: float) -> Markup:
    """Return a bar, with a mark on its way if there is one."""
    parts = [tag("div", class_="filled", style=f"width:{100 * value / largest:.2f}%")]
    if mark is not None:
        parts.append(tag("div", class_="mark", style=f"left:{100 * mark / largest:.2f}%"))
    return tag("div", parts, class_="bar", role="img", aria_label=sentence)


def axis(*labels: str) -> Markup:
    """Return the labels of an axis from left to right."""
    return tag("div", (tag("span", label) for label in labels), class_="axis", aria_hidden="true")


def legend(names: Mapping[str, str]) -> Markup:
    """Return what colours mean, by the name of their class."""
    entries = (tag("li", tag("span", class_=f"key {name}"), text) for name, text in names.items())
    return tag("ul", entries, class_="legend")


def labelled(label: str | Markup, drawing: Markup, note: str | Markup = "") -> Markup:
    """Return a drawing with words to its left and its right; on narrow screens above and below it."""
    words = (tag("div", label, class_="label"), tag("div", drawing, class_="drawing"))
    return tag("div", words, tag("div", note, class_="note") if note else None, class_="labelled")


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str | Markup]], caption: str, kind: str | None = None
) -> Markup:
    """Return a table, each cell of which knows its heading: on narrow screens they are shown with it."""
    head = tag("thead", tag("tr", (tag("th", heading, scope="col") for heading in headings)))
    body = tag("tbody", (_row(headings, row) for row in rows))
    return tag("table", tag("caption", caption), head, body, class_=kind)


def _row(headings: Sequence[str], row: Sequence[str | Markup]) -> Markup:
    first, *rest = zip(headings, row, strict=True)
    cells = (tag("td", value, data_heading=heading) for heading, value in rest)
    return tag("tr", tag("th", first[1], scope="row", data_heading=first[0]), cells)


def facts(pairs: Iterable[tuple[str, str | Markup]], kind: str = "") -> Markup:
    """Return names with their values."""
    entries = (tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs)
    return tag("dl", entries, class_=f"facts {kind}".strip())


def section(title: str, *content: str | Iterable[str] | None) -> Markup:
    """Return a part of a page under a heading."""
    return tag("section", tag("h2", title), joined(*content))
