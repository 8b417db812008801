"""What a report says, of one process; tests/report looks at it in a browser, with ranks."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from pynwb import NWBFile, TimeSeries
from report.made_up import large_record

from parnwb import NWBParallelIO, verify
from parnwb.comm import Ranks
from parnwb.drawing.numbers import bytes_in_words
from parnwb.errors import ParnwbError, TargetError
from parnwb.report import check_place, make_report, verification_report
from parnwb.report.kinds import by_kind, kind_of, lane
from parnwb.report.page import written_page
from parnwb.report.record import RankRecord
from parnwb.report.stored import MOST_DATASETS, contents

ROWS, COLUMNS = 50_000, 16


class Checked(HTMLParser):
    """Refuses elements that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, name: str, attributes: object) -> None:
        if name != "meta":
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name


def session() -> NWBFile:
    nwbfile = NWBFile("a <session>", "id", datetime(2024, 1, 1, tzinfo=timezone.utc))
    values = np.random.default_rng(0).integers(0, 50, (ROWS, COLUMNS)).astype("int16")
    nwbfile.add_acquisition(TimeSeries(name="noise", data=values, unit="V", rate=1.0))
    return nwbfile


@pytest.fixture(scope="module")
def io(tmp_path_factory: pytest.TempPathFactory) -> NWBParallelIO:
    path = tmp_path_factory.mktemp("report") / "out.nwb"
    with NWBParallelIO(path, "w", compression="gzip", chunks="auto") as io:
        io.write(session())
    return io


def test_a_report_of_what_was_written(io: NWBParallelIO, tmp_path: Path) -> None:
    report = make_report(io)
    assert report is not None
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    reader = Checked()
    reader.feed(page)
    assert not reader.open
    for words in ("out.nwb", "a &lt;session&gt;", "/acquisition/noise/data", "Not verified.", "Rank 0", "HDF5"):
        assert words in page, words
    assert "Throughput of all ranks" in page and re.search(r"upper edge is [1-9][\d.]*\xa0[kM]B/s", page)


def test_all_bytes_are_on_the_timeline(io: NWBParallelIO) -> None:
    assert io.written is not None
    binned = io.written.timeline.binned()
    with h5py.File(io.path, "r") as file:
        stored = file["/acquisition/noise/data"].id.get_storage_size()
    assert binned.raw.sum() == pytest.approx(ROWS * COLUMNS * 2) and binned.stored.sum() == pytest.approx(stored)
    seconds = {phase: float(row.sum()) for phase, row in binned.seconds.items()}
    assert seconds == pytest.approx(dict(io.written.phases)) and binned.memory.max() > 1e7


def test_only_a_resumed_job_says_what_of_the_data_it_wrote() -> None:
    record = large_record()
    total = record.plan["total_bytes"]
    for written, said in ((total - 1e-7, False), (total / 2, True)):
        page = written_page(replace(record, written_bytes=written), None).html()
        assert ("Of these, by this job" in page) == said


def test_with_the_verdict(io: NWBParallelIO) -> None:
    verdict = verify(io.path)
    for report, when, what in (
        (make_report(io, verdict=verdict), "Written at", "What the file was made with"),
        (verification_report(verdict), "Verified at", "What it was verified with"),
    ):
        assert report is not None
        page = report.html()
        assert "GOOD." in page and "/acquisition/noise/data" in page
        assert re.findall(r"(?:Written|Verified) at", page) == [when]
        assert re.findall(r"What (?:the file was made|it was verified) with", page) == [what]


@pytest.mark.parametrize("kind", ["hdf5", "zarr"])
def test_small_datasets_count_too(tmp_path: Path, kind: str) -> None:
    """Also those that are too many to be listed."""
    values = np.arange(1000, dtype="i4")
    if kind == "hdf5":
        with h5py.File(tmp_path / "many", "w") as file:
            for number in range(MOST_DATASETS + 10):
                file[f"d{number}"] = values
    else:
        root = zarr.open_group(str(tmp_path / "many"), mode="w")
        for number in range(MOST_DATASETS + 10):
            root[f"d{number}"] = values
    found = contents(tmp_path / "many")
    assert (len(found.datasets), found.others) == (MOST_DATASETS, 10)
    assert found.raw_bytes == (MOST_DATASETS + 10) * values.nbytes
    record = large_record()
    page = written_page(replace(record, contents=found), None).html()
    assert facts_of(page)["Data"] == bytes_in_words(found.raw_bytes)
    assert facts_of(page)["Data over file"] == f"{found.raw_bytes / found.file_bytes:.2f}"


def facts_of(page: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>([^<]*)</dt>\s*<dd>([^<]*)</dd>", page))


def test_a_report_of_a_store_says_that_its_chunks_are_not_looked_at(tmp_path: Path) -> None:
    with NWBParallelIO(tmp_path / "out.nwb.zarr", "w", compression="gzip", chunks="auto") as io:
        io.write(session())
    verdict = verify(io.path)
    for report in (make_report(io, verdict=verdict), verification_report(verdict)):
        assert report is not None
        page = report.html()
        assert "chunks of a store are files" in page and "No dataset is compressed" not in page
        assert "/acquisition/noise/data" in page and "GOOD." in page
        assert bytes_in_words(ROWS * COLUMNS * 2) in page


def test_notebooks_show_a_part_of_a_page(io: NWBParallelIO) -> None:
    report = make_report(io)
    assert report is not None
    shown = report._repr_html_()
    assert shown.startswith('<div class="parnwb"><style>') and "<html" not in shown
    rules = [line for line in shown.split("</style>")[0].splitlines()[1:] if line.endswith("{") or " { " in line]
    assert all(".parnwb" in rule or rule.startswith("@media") for rule in rules), "it would style the notebook too"


def test_nothing_is_reported_before_the_end(tmp_path: Path) -> None:
    with NWBParallelIO(tmp_path / "out.nwb", "w") as io:
        with pytest.raises(ParnwbError, match="a file that is complete"):
            make_report(io)
        io.write(session())
        with pytest.raises(ParnwbError, match="a file that is complete"):
            make_report(io)


def test_contents_are_those_of_the_index(io: NWBParallelIO) -> None:
    found = contents(io.path)
    stored = found.datasets[0]
    assert (stored.path, stored.shape, stored.filters) == ("/acquisition/noise/data", (ROWS, COLUMNS), "gzip 4")
    with h5py.File(io.path, "r") as file:
        dataset = file[stored.path]
        assert stored.count == dataset.id.get_num_chunks() and stored.stored_bytes == dataset.id.get_storage_size()
    assert stored.lowest <= stored.ratio <= stored.highest
    assert min(stored.ratios) >= stored.lowest - 1e-9 and max(stored.ratios) <= stored.highest + 1e-9


def test_chunks_at_the_end_count_as_far_as_they_are_filled(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        values = np.random.default_rng(0).integers(0, 2**16, (1100, 10)).astype("u2")
        file.create_dataset("a", data=values, chunks=(1000, 10), compression="gzip")
    stored = contents(tmp_path / "a.h5").datasets[0]
    assert stored.lowest == pytest.approx(stored.ratios[1]) and stored.ratios[0] == pytest.approx(1, abs=0.1)
    assert stored.ratio == pytest.approx(stored.raw_bytes / stored.stored_bytes)


def test_phases_have_kinds() -> None:
    seconds = {"encoder: reading": 1.0, "reading": 2.0, "encoder: waiting for the writer": 4.0, "opening": 8.0}
    assert by_kind(seconds) == {"read": 3.0, "encode": 0.0, "write": 0.0, "wait": 4.0, "other": 8.0}
    assert kind_of("waiting for other ranks") == "wait" and kind_of("fsync") == "write"
    rows = {phase: np.array([value]) for phase, value in seconds.items()}
    assert {kind: row.tolist() for kind, row in lane(rows, encoder=True).items()} == {"read": [1.0], "wait": [4.0]}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("r.nwb", "ends in .html"),
        ("no/r.html", "must exist"),
        ("f.html", "folder"),
        ("/proc/r.html", "cannot be written: .* a folder that may be written to"),  # not even by root
        (f"{'r' * 250}.html", "cannot be written: File name too long .* a shorter name"),
    ],
)
def test_where_a_report_cannot_go(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "f.html").mkdir()
    with pytest.raises(TargetError, match=words):
        check_place(tmp_path / name)


def test_looking_where_a_report_goes_leaves_nothing_and_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("an earlier one")
    for name in ("there.html", "new.html"):
        check_place(tmp_path / name)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["an earlier one"]


def test_what_ranks_did_goes_to_the_root_alone(io: NWBParallelIO, monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere: list[object] = []
    gather_all = Ranks.gather_all
    monkeypatch.setattr(Ranks, "gather_all", lambda self, value: everywhere.append(value) or gather_all(self, value))
    assert make_report(io) is not None
    assert everywhere and not any(isinstance(value, RankRecord) for value in everywhere)


def test_a_report_that_cannot_be_written_leaves_nothing(io: NWBParallelIO, tmp_path: Path) -> None:
    report = make_report(io)
    assert report is not None
    with pytest.raises(TargetError, match="Choose another name"):
        report.save(tmp_path / "no" / "report.html")
