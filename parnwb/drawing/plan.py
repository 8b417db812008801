"""A plan as coloured hyperslabs over its datasets. It comes as the values that ``WritePlan.to_json`` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from parnwb.drawing import charts
from parnwb.drawing.charts import Box
from parnwb.drawing.markup import Markup, joined, tag
from parnwb.drawing.numbers import bytes_in_words, extent_in_words
from parnwb.drawing.page import fragment

MOST_RANKS = 256
MOST_BOXES = 800
MOST_DATASETS = 24
"""What is drawn of ranks, of hyperslabs of one dataset, and of datasets.

A run of chunks in two dimensions is three hyperslabs at most, so that those of so many ranks are drawn all.
"""

Plan = Mapping[str, Any]


@dataclass(frozen=True)
class Drawn:
    """What is drawn of one dataset.

    Parameters
    ----------
    boxes
        Hyperslabs as parts of the dataset, in the order of their ranks.
    slabs, ranks
        How many hyperslabs the plan has there, and of how many ranks, drawn or not.
    """

    boxes: tuple[Box, ...]
    slabs: int
    ranks: int

    @classmethod
    def of(cls, boxes: Sequence[Box]) -> Drawn:
        """Return what can be drawn of all hyperslabs of a dataset."""
        return cls(tuple(_kept(boxes)), len(boxes), len({box.colour for box in boxes}))

    @property
    def omission(self) -> str:
        """What is left out, in words; nothing if all is drawn."""
        if len(self.boxes) == self.slabs:
            return ""
        ranks = len({box.colour for box in self.boxes})
        whose = f" of {ranks} of the ranks, evenly" if ranks < self.ranks else ", the largest"
        return f"drawn are {len(self.boxes)} of {self.slabs} hyperslabs{whose}"


def hyperslabs(plan: Plan) -> dict[str, Drawn]:
    """Return what each rank writes, as parts of each dataset by its path: the first axis goes to the right.

    The second one goes down; others are not seen.
    """
    found: dict[str, list[Box]] = {item["path"]: [] for item in plan["datasets"]}
    shapes = {item["path"]: item["shape"] for item in plan["datasets"]}
    for share in plan["shares"]:
        for slab in share["hyperslabs"]:
            path = slab["dataset"]
            found[path].append(_box(share["rank"], slab["start"], slab["count"], shapes[path]))
    return {path: Drawn.of(boxes) for path, boxes in found.items()}


def _kept(boxes: Sequence[Box]) -> list[Box]:
    """Return as many boxes as are drawn: the largest of each rank, or of ranks evenly, and the largest of the rest."""
    if len(boxes) <= MOST_BOXES:
        return list(boxes)
    by_size = sorted(range(len(boxes)), key=lambda number: -boxes[number].width * boxes[number].height)
    largest_of: dict[int, int] = {}
    for number in by_size:
        largest_of.setdefault(boxes[number].colour, number)
    leading = [largest_of[rank] for rank in sorted(largest_of)]
    count = min(len(leading), MOST_BOXES)
    kept = {leading[place * len(leading) // count] for place in range(count)}
    rest = (number for number in by_size if number not in kept)
    kept.update(islice(rest, MOST_BOXES - count))
    return [boxes[number] for number in sorted(kept)]


def _box(rank: int, start: Sequence[int], count: Sequence[int], shape: Sequence[int]) -> Box:
    (left, width), (top, height) = [
        (start[axis] / shape[axis], count[axis] / shape[axis]) if axis < len(shape) and shape[axis] else (0.0, 1.0)
        for axis in (0, 1)
    ]
    return Box(left, top, width, height, rank, str(rank))


def largest(plan: Plan) -> list[Mapping[str, Any]]:
    """Return the datasets that are drawn, in their order: all, or the largest by their number of elements."""
    datasets = list(plan["datasets"])
    if len(datasets) <= MOST_DATASETS:
        return datasets
    sizes = [_elements(item) for item in datasets]
    least = sorted(sizes, reverse=True)[MOST_DATASETS - 1]
    return [item for item, size in zip(datasets, sizes, strict=True) if size >= least][:MOST_DATASETS]


def _elements(item: Mapping[str, Any]) -> int:
    size = 1
    for extent in item["shape"]:
        size *= extent
    return size


def omissions(plan: Plan) -> str:
    """Return in words what is not drawn; nothing if all is."""
    left_out = []
    if len(plan["shares"]) < plan["ranks"]:
        left_out.append(f"the first {len(plan['shares'])} of {plan['ranks']} ranks")
    if len(plan["datasets"]) > MOST_DATASETS:
        left_out.append(f"the {MOST_DATASETS} largest of {len(plan['datasets'])} datasets")
    return f"Shown are {' and '.join(left_out)}." if left_out else ""


def drawing(plan: Plan) -> Markup:
    """Return the datasets with the hyperslabs of ranks in them."""
    found = hyperslabs(plan)
    explained = (
        "Each rank has a colour; its number stands where there is room. The first axis, which is time mostly, goes to "
        "the right, the second one down. "
    )
    return joined(
        tag("p", explained, omissions(plan), class_="soft"),
        tag("div", (_dataset(plan, item, found[item["path"]]) for item in largest(plan)), class_="wide"),
    )


def _dataset(plan: Plan, item: Mapping[str, Any], drawn: Drawn) -> Markup:
    who = _who(plan, drawn)
    sentence = f"{item['path']}: {drawn.slabs} hyperslabs of {who}"
    shape = extent_in_words(item["shape"])
    chunks = f", chunks {extent_in_words(item['chunks'])}" if item["chunks"] else ""
    note = "; ".join(filter(None, (f"{shape}{chunks}", who, drawn.omission)))
    return charts.labelled(tag("code", item["path"]), charts.boxes(sentence, drawn.boxes), note)


def _who(plan: Plan, drawn: Drawn) -> str:
    """Return who writes a dataset, as far as the plan tells."""
    if not drawn.ranks:
        return "no rank" if len(plan["shares"]) == plan["ranks"] else "none of the ranks shown"
    if drawn.ranks == 1:
        return f"rank {drawn.boxes[0].colour}"
    return f"{drawn.ranks} {'ranks' if len(plan['shares']) == plan['ranks'] else 'of the ranks shown'}"


def shares(plan: Plan, most: int = 32) -> Markup:
    """Return a table of what each rank has to do."""
    rows = [
        (
            str(share["rank"]),
            bytes_in_words(share["bytes"]),
            str(share["buffers"]),
            bytes_in_words(share["projected_memory_bytes"]),
        )
        for share in plan["shares"][:most]
    ]
    caption = f"Shares of {len(rows)} of {plan['ranks']} ranks" if len(rows) < plan["ranks"] else "Shares of all ranks"
    return charts.table(("Rank", "Data", "Buffers", "Memory for buffers"), rows, caption)


def plan_fragment(plan: Plan) -> str:
    """Return a plan as a part of a page, for notebooks."""
    known = charts.facts(
        (
            ("Data", bytes_in_words(plan["total_bytes"])),
            ("Ranks", str(plan["ranks"])),
            ("Decomposition", plan["decomposition"]),
            ("Largest share over the average", f"{plan['balance']:.3f}"),
            ("Most memory for buffers of a rank", bytes_in_words(plan["projected_memory_bytes"])),
        )
    )
    details = tag("details", tag("summary", "Shares as a table"), shares(plan))
    return fragment(known, drawing(plan), details)
