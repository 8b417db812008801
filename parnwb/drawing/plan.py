"""A plan as coloured hyperslabs over its datasets. It comes as the values that ``WritePlan.to_json`` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parnwb.drawing import charts
from parnwb.drawing.charts import Box
from parnwb.drawing.markup import Markup, joined, tag
from parnwb.drawing.numbers import bytes_in_words, extent_in_words
from parnwb.drawing.page import fragment

MOST_RANKS = 256
MOST_BOXES = 600
MOST_DATASETS = 24
"""What is drawn of ranks, of hyperslabs of one dataset, and of datasets."""

Plan = Mapping[str, Any]


def hyperslabs(plan: Plan) -> dict[str, list[Box]]:
    """Return what each rank writes, as parts of each dataset by its path: the first axis goes to the right.

    The second one goes down; others are not seen.
    """
    found: dict[str, list[Box]] = {item["path"]: [] for item in plan["datasets"]}
    shapes = {item["path"]: item["shape"] for item in plan["datasets"]}
    for share in plan["shares"]:
        for slab in share["hyperslabs"]:
            boxes = found[slab["dataset"]]
            if len(boxes) < MOST_BOXES:
                boxes.append(_box(share["rank"], slab["start"], slab["count"], shapes[slab["dataset"]]))
    return found


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
        tag("div", (_dataset(item, found[item["path"]]) for item in largest(plan)), class_="wide"),
    )


def _dataset(item: Mapping[str, Any], boxes: Sequence[Box]) -> Markup:
    ranks = sorted({int(box.label) for box in boxes})
    who = "no rank" if not ranks else f"rank {ranks[0]}" if len(ranks) == 1 else f"{len(ranks)} ranks"
    sentence = f"{item['path']}: {len(boxes)} hyperslabs of {who}"
    shape = extent_in_words(item["shape"])
    chunks = f", chunks {extent_in_words(item['chunks'])}" if item["chunks"] else ""
    return charts.labelled(tag("code", item["path"]), charts.boxes(sentence, boxes), f"{shape}{chunks}; {who}")


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
