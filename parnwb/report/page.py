"""``Report``: a page of what was written, drawn from what ranks recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from parnwb.drawing import charts
from parnwb.drawing import plan as plans
from parnwb.drawing.markup import Markup, joined, tag
from parnwb.drawing.numbers import bytes_in_words, extent_in_words, rate_in_words, seconds_in_words
from parnwb.drawing.page import fragment, page
from parnwb.errors import TargetError
from parnwb.report.kinds import ENCODE, NAMES, READ, WAIT, WRITE, by_kind, lane
from parnwb.report.record import RankRecord, Record
from parnwb.report.stored import Contents, Stored

if TYPE_CHECKING:
    from parnwb.verification import Verdict

MOST_RANKS = 32
MOST_DATASETS = 24


@dataclass(frozen=True)
class Report:
    """One page about a file: it shows itself in notebooks, and ``save`` leaves it as a file that loads nothing.

    Parameters
    ----------
    title
        Of the page.
    body
        What is in it.
    """

    title: str
    body: Markup

    def html(self) -> str:
        """Return the page."""
        return page(self.title, self.body)

    def save(self, path: str | Path) -> None:
        """Write the page, over one that is there. Independent.

        Raises
        ------
        TargetError
            It cannot be written.
        """
        place = Path(path).absolute()
        half = half_of(place)
        try:
            half.write_text(self.html(), encoding="utf-8")
            half.replace(place)
        except OSError as error:
            half.unlink(missing_ok=True)
            raise TargetError(
                f"the report cannot be written: {error.strerror}", where=str(path), remedy="Choose another name for it"
            ) from error

    def _repr_html_(self) -> str:
        return fragment(self.body)


def half_of(place: Path) -> Path:
    """Return the name of a page while it is written. Independent."""
    return place.with_name(f"{place.name}.{os.getpid()}.part")


def written_page(record: Record, verdict: Verdict | None) -> Report:
    """Return the page about a file that was written. Independent."""
    name = record.path.name
    body = joined(
        tag("h1", name),
        tag("p", f"{record.path.parent}; backend {record.backend[0]}: {record.backend[1]}", class_="soft"),
        _verdict(verdict, record.path),
        _outcome(record),
        charts.section("What was written", _session(record.contents), _datasets(record.contents)),
        charts.section("Throughput over time", _throughput(record)),
        charts.section("What ranks did when", _timeline(record)),
        charts.section("Who wrote what", plans.drawing(record.plan)),
        charts.section("Compression by chunk", _compression(record.contents)),
        charts.section("Memory by rank", _memory(record)),
        charts.section("Environment", _environment(record.environment, "What the file was made with")),
    )
    return Report(f"{name}: written by parnwb", body)


def verified_page(verdict: Verdict, held: Contents | None, environment: Mapping[str, str]) -> Report:
    """Return the page about a file that was verified. Independent."""
    name = verdict.path.name
    known = [
        ("Read back", bytes_in_words(verdict.nbytes)),
        ("Duration", seconds_in_words(verdict.seconds)),
        ("Datasets of numbers", str(verdict.datasets)),
        ("Compared with the source", str(len(verdict.compared))),
        ("Checksums compared", str(verdict.checksums)),
    ]
    if held is not None:
        known.insert(0, ("File", bytes_in_words(held.file_bytes)))
    body = joined(
        tag("h1", name),
        tag("p", str(verdict.path.parent), class_="soft"),
        _verdict(verdict, verdict.path),
        charts.facts(known),
        None if held is None else charts.section("What is in it", _session(held), _datasets(held)),
        None if held is None else charts.section("Compression by chunk", _compression(held)),
        charts.section("Environment", _environment(environment, "What it was verified with")),
    )
    return Report(f"{name}: verified by parnwb", body)


def _verdict(verdict: Verdict | None, path: Path) -> Markup:
    if verdict is None:
        command = tag("code", f"mpiexec -n 4 parnwb verify {path.name}")
        return tag("div", tag("p", tag("strong", "Not verified."), " Do it by ", command), class_="verdict")
    compared = (
        f"{len(verdict.compared)} compared with the source bit for bit"
        if verdict.compared
        else ("no source to compare with")
    )
    stored = f", {verdict.checksums} checksums compared" if verdict.checksums else ""
    said = (
        f" {verdict.datasets} datasets ({bytes_in_words(verdict.nbytes)}) read back, {compared}{stored}, "
        f"pynwb's validator asked; {seconds_in_words(verdict.seconds)}"
    )
    found = [*((f"wrong: {item}") for item in verdict.findings), *((f"advice: {item}") for item in verdict.advice)]
    items = tag("ul", (tag("li", item) for item in found)) if found else None
    word = tag("strong", "GOOD." if verdict.ok else "BAD.")
    return tag("div", tag("p", word, said), items, class_=f"verdict {'good' if verdict.ok else 'bad'}")


def _outcome(record: Record) -> Markup:
    raw, size = record.contents.raw_bytes, record.contents.file_bytes
    hosts = len({rank.host for rank in record.ranks})
    known = [
        ("Data", bytes_in_words(raw)),
        ("File", bytes_in_words(size)),
        ("Data over file", f"{raw / max(1, size):.2f}"),
        ("Duration of writing", seconds_in_words(record.seconds)),
        ("Throughput", rate_in_words(record.written_bytes / max(record.seconds, 1e-9))),
        ("Ranks", f"{len(record.ranks)} on {hosts} host{'s' if hosts > 1 else ''}"),
    ]
    # Bytes were spread over bins of time: their sum may miss a fraction of one.
    if record.written_bytes < record.plan["total_bytes"] * (1 - 1e-9):
        known.insert(1, ("Of these, by this job", bytes_in_words(record.written_bytes)))
    return charts.facts(known)


def _session(held: Contents) -> Markup | None:
    return charts.facts(held.session.items(), "words") if held.session else None


def _datasets(held: Contents) -> Markup:
    rows = [
        (
            tag("code", item.path),
            extent_in_words(item.shape),
            item.dtype,
            extent_in_words(item.chunks),
            item.filters or "none",
            bytes_in_words(item.raw_bytes),
            f"{item.ratio:.2f}" if item.stored_bytes else "-",
        )
        for item in held.datasets[:MOST_DATASETS]
        if item.raw_bytes >= 4096 or len(held.datasets) <= 12
    ]
    smaller = len(held.datasets) - len(rows) + held.others
    caption = f"Datasets, the largest first; {smaller} smaller ones are not listed" if smaller else "Datasets"
    return charts.table(("Path", "Shape", "Type", "Chunks", "Filters", "Data", "Ratio"), rows, caption, "numbers")


def _throughput(record: Record) -> Markup:
    width = record.ranks[0].spans.width
    raw = np.sum([rank.spans.raw for rank in record.ranks], axis=0) / width
    stored = np.sum([rank.spans.stored for rank in record.ranks], axis=0) / width
    top = float(raw.max(initial=0.0)) or 1.0
    compressed = f", {rate_in_words(float(stored.max()))} of compressed data" if stored.any() else ""
    of_all = f"Throughput of all ranks over {seconds_in_words(record.seconds)}"
    sentence = f"{of_all}: at most {rate_in_words(top)} of data{compressed}"
    names = {"raw": "data", "stored": "as stored in the file"} if stored.any() else {"raw": "data"}
    drawing = tag("div", charts.area(sentence, raw.tolist(), stored.tolist(), top), class_="tall")
    explained = (
        f"The upper edge is {rate_in_words(top)}. Bytes count evenly over the time that their rank took to read, "
        f"encode and write them, in intervals of {seconds_in_words(width)}."
    )
    return joined(
        tag("p", explained, class_="soft"),
        charts.legend(names),
        drawing,
        charts.axis("0 s", seconds_in_words(record.seconds / 2), seconds_in_words(record.seconds)),
    )


def _timeline(record: Record) -> Markup:
    shown = [(number, rank) for number, rank in enumerate(record.ranks) if rank.spans.seconds]
    some = f" Shown are {len(shown)} of {len(record.ranks)} ranks." if len(shown) < len(record.ranks) else ""
    explained = (
        "Of each rank the upper lane is what reads and encodes, the lower one the thread that writes and "
        f"speaks to other ranks; where there is one lane, one thread does all.{some}"
    )
    return joined(
        tag("p", explained, class_="soft"),
        charts.legend(NAMES),
        tag("div", (_lanes(number, rank) for number, rank in shown), class_="lanes"),
        charts.labelled("", charts.axis("0 s", seconds_in_words(record.seconds))),
        tag("details", tag("summary", "Seconds as a table"), _seconds(record)),
    )


def _lanes(number: int, rank: RankRecord) -> Markup:
    spent = by_kind(rank.seconds)
    words = ", ".join(f"{kind} {seconds_in_words(spent[kind])}" for kind in (READ, ENCODE, WRITE, WAIT))
    drawn = []
    for encoder, title in ((True, "reading and encoding"), (False, "writing and speaking")):
        series = {kind: values.tolist() for kind, values in lane(rank.spans.seconds, encoder=encoder).items()}
        if series:
            fullest = max(map(sum, zip(*series.values(), strict=True)))  # several threads may encode
            largest = max(rank.spans.width, fullest)
            drawn.append(charts.stacked(f"Rank {number}, {title}: {words}", series, largest))
    busy = spent[READ] + spent[ENCODE] + spent[WRITE]
    return charts.labelled(f"rank {number}", joined(*drawn), f"{seconds_in_words(busy)} busy")


def _seconds(record: Record) -> Markup:
    rows = []
    for number, rank in list(enumerate(record.ranks))[:MOST_RANKS]:
        spent = by_kind(rank.seconds)
        done = bytes_in_words(rank.raw_bytes)
        rows.append((str(number), rank.host, done, *(f"{spent[kind]:.2f}" for kind in NAMES)))
    caption = f"Seconds of both threads of {len(rows)} of {len(record.ranks)} ranks"
    headings = ("Rank", "Host", "Data", "Reading", "Encoding", "Writing", "Waiting", "All else")
    return charts.table(headings, rows, caption)


def _compression(held: Contents) -> Markup:
    compressed = [item for item in held.datasets[:MOST_DATASETS] if item.count]
    if held.chunks_are_files:
        said = "The chunks of a store are files, which are not looked at one by one; the table above has all together."
        return tag("p", said, class_="soft")
    if not compressed:
        return tag("p", "No dataset is compressed, or its chunks are too many to be looked at.", class_="soft")
    explained = (
        "Uncompressed over stored bytes of chunks, in the order of the dataset; where chunks are many, each column is "
        "the average of several."
    )
    return joined(
        tag("p", explained, class_="soft"),
        tag("div", (_ratios(item) for item in compressed), class_="wide middle"),
    )


def _ratios(item: Stored) -> Markup:
    top = max(item.ratios)
    several = f"{item.count} chunks: {item.lowest:.2f} to {item.highest:.2f}, all together {item.ratio:.2f}"
    note = f"{several}; the upper edge is {top:.2f}" if item.count > 1 else f"1 chunk: {item.ratio:.2f}"
    drawing = charts.columns(f"Compression of {item.path}: {note}", item.ratios, top, "encode")
    return charts.labelled(tag("code", item.path), drawing, note)


def _memory(record: Record) -> Markup:
    numbered = sorted(enumerate(record.ranks), key=lambda pair: -pair[1].memory)[:MOST_RANKS]
    if not any(rank.memory for _, rank in numbered):
        return tag("p", "This system does not tell how much memory a process has.", class_="soft")
    top = max(max(rank.memory, rank.projected_memory) for _, rank in numbered)
    which = f"the {MOST_RANKS} ranks with most of it" if len(record.ranks) > MOST_RANKS else "each rank"
    explained = (
        f"The most anonymous memory seen of {which}, interpreter and libraries included. The mark is what the plan "
        "allows for buffers."
    )
    return joined(
        tag("p", explained, class_="soft"),
        (_rank_memory(number, rank, top) for number, rank in sorted(numbered, key=lambda pair: pair[0])),
    )


def _rank_memory(number: int, rank: RankRecord, top: float) -> Markup:
    seen, allowed = bytes_in_words(rank.memory), bytes_in_words(rank.projected_memory)
    sentence = f"Rank {number}: {seen} of memory, buffers of {allowed} planned"
    return charts.labelled(f"rank {number}", charts.bar(sentence, rank.memory, rank.projected_memory, top), seen)


def _environment(said: Mapping[str, str], caption: str) -> Markup:
    return charts.table(("What", "Value"), said.items(), caption)
