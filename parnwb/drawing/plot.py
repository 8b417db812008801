"""A plan as a picture of matplotlib, which is imported here alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from parnwb.drawing.numbers import bytes_in_words, extent_in_words
from parnwb.drawing.plan import Drawn, Plan, hyperslabs, largest, omissions
from parnwb.errors import ParnwbError, TargetError

COLOURS = ("#9ecae9", "#ffbf79", "#88d27a", "#f2cf5b", "#ff9d98", "#c7b3dd", "#83bcb6", "#d8b5a5")
LABEL_WIDTH = 0.03


def save_plot(plan: Plan, path: Path) -> None:
    """Draw the hyperslabs of all ranks over the datasets, and save it in the format that the name's ending says.

    Raises
    ------
    ParnwbError
        matplotlib is not installed, or does not know the format.
    TargetError
        The picture cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ParnwbError("pictures need matplotlib", remedy="pip install 'parnwb[plot]'") from error
    datasets, found = largest(plan), hyperslabs(plan)
    figure = Figure(figsize=(10, 1.0 + 1.15 * max(1, len(datasets))), layout="constrained")
    FigureCanvasAgg(figure)
    title = f"{bytes_in_words(plan['total_bytes'])} on {plan['ranks']} ranks, {plan['decomposition']}"
    figure.suptitle(f"{title}. {omissions(plan)}" if omissions(plan) else title)
    if datasets:
        axes = figure.subplots(len(datasets), 1, squeeze=False)[:, 0]
        for item, ax in zip(datasets, axes, strict=True):
            _draw(ax, item, found[item["path"]])
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise TargetError(
            f"the picture cannot be written: {error.strerror}", where=str(path), remedy="Choose another name"
        ) from error
    except ValueError as error:
        raise ParnwbError(
            f"no picture can be made under this name: {error}", where=str(path), remedy="End it in .png, .svg or .pdf"
        ) from error


def _draw(ax: Any, item: Any, drawn: Drawn) -> None:
    from matplotlib.patches import Rectangle

    for box in drawn.boxes:
        colour = COLOURS[box.colour % len(COLOURS)]
        place = (box.left, box.top)
        ax.add_patch(Rectangle(place, box.width, box.height, facecolor=colour, edgecolor="#333333", linewidth=0.4))
        if box.width >= LABEL_WIDTH:
            middle = (box.left + box.width / 2, box.top + box.height / 2)
            ax.text(*middle, box.label, ha="center", va="center", fontsize=8, color="#11151a")
    ax.set(xlim=(0, 1), ylim=(1, 0), yticks=[])
    ax.set_xticks([0, 1], ["0", str(item["shape"][0]) if item["shape"] else ""], fontsize=8)
    title = f"{item['path']}   {extent_in_words(item['shape'])}"
    ax.set_title(f"{title}   {drawn.omission}".rstrip(), loc="left", fontsize=9)
