"""The next buffer's bytes are announced when this one has been read, and before it is encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from parnwb.backends.backend import Portion
from parnwb.backends.encoder import encoded
from parnwb.backends.outlook import Outlook
from parnwb.backends.stretch import Stretch
from parnwb.codec import Crew
from parnwb.codec.pipeline import OwnFilters
from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FileLayout, FilterSpec
from parnwb.machine.foresight import Foresight
from parnwb.planning.plan import Buffer, MiB, WritePlan
from parnwb.sources.array import CastSource
from parnwb.sources.binary import BinarySource
from parnwb.timing import Phases

ROWS, COLUMNS, LAYER = 103, 10, 8  # thirteen layers of two chunks; the last is not full
DEFLATE = FilterSpec(1, (1,), "deflate")


class Silent:
    """A lane that nobody looks at."""

    def step(self, text: str) -> None:
        """Do nothing."""

    def moved(self) -> None:
        """Do nothing."""


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return what happens, in order: byte ranges announced, positions read, and chunks encoded."""
    found: list[tuple[str, int]] = []

    def announce(self, ranges):
        found.extend(("announce", item.offset) for item in ranges)

    read, encode = BinarySource._read_bytes, OwnFilters.encode

    def noted_read(self, out, position):
        found.append(("read", position))
        read(self, out, position)

    def noted_encode(self, chunk):
        found.append(("encode", int(chunk.flat[0])))
        return encode(self, chunk)

    monkeypatch.setattr(Foresight, "announce", announce)
    monkeypatch.setattr(BinarySource, "_read_bytes", noted_read)
    monkeypatch.setattr(OwnFilters, "encode", noted_encode)
    return found


@pytest.fixture
def portion(tmp_path: Path) -> Portion:
    """Return two datasets in files, of which one rank writes two layers of chunks at once."""
    specs, sources = [], {}
    for name in ("a", "b"):
        path = tmp_path / name
        np.repeat(np.arange(ROWS, dtype="<i2"), COLUMNS).tofile(path)
        specs.append(DatasetSpec(f"/{name}", (ROWS, COLUMNS), (ROWS, COLUMNS), "<i2", (LAYER, 5), (DEFLATE,)))
        source = BinarySource(path, np.dtype("<i2"), (ROWS, COLUMNS))
        sources[f"/{name}"] = CastSource(source, source.dtype) if name == "b" else source
    layout = FileLayout(tuple(specs))
    return Portion(WritePlan(layout, 1, buffer_mb=2 * LAYER * COLUMNS * 2 / MiB), sources)


@pytest.mark.parametrize("threads", [1, 3])
def test_each_buffer_is_announced_before_the_one_before_it_is_encoded(portion, events, threads):
    stretch = Stretch.own(portion.plan, 0)
    outlook = Outlook(portion, 0, Foresight())
    with Crew(threads) as crew:
        batches = list(encoded(portion, stretch, crew, outlook, Silent(), Phases()))
    buffers = list(portion.plan.buffers(0))
    assert len(batches) == len(buffers) == 14
    starts = [buffer.slab.start[0] * COLUMNS * 2 for buffer in buffers]
    assert [where for what, where in events if what == "announce"] == starts
    assert [where for what, where in events if what == "read"] == starts
    steps = [what for what, _ in events if what != "encode"]
    assert steps == ["announce", *["read", "announce"] * 13, "read"]
    # Of each buffer, the first chunk is encoded when the next one is known.
    announced = 0
    for what, where in events:
        announced += what == "announce"
        if what == "encode":
            assert announced >= min(len(buffers), where // (2 * LAYER) + 2)


def test_of_parts_of_buffers_only_the_first_announces_what_comes_behind(portion, events):
    first, second = list(portion.plan.buffers(0))[3:5]
    half = first.slab.count[0] // 2
    parts = [
        Buffer(first.dataset, Hyperslab((first.slab.start[0] + n, 0), (half, COLUMNS))) for n in (0, half)
    ]
    outlook = Outlook(portion, 0, Foresight())
    for part in [*parts, second]:
        assert list(outlook.beyond(part, [1, 2])) == [1, 2]
    row = 2 * COLUMNS
    third = second.slab.stop[0]
    starts = [parts[0].slab.start[0], second.slab.start[0], third]
    assert [where for _, where in events] == [start * row for start in starts]


def test_a_file_that_cannot_be_opened_is_an_error_of_reading_alone(portion, events):
    portion.sources["/a"].path.unlink()
    buffer = next(portion.plan.buffers(0))
    assert list(Outlook(portion, 0, Foresight()).beyond(buffer, [1])) == [1]
    assert events == []
    with pytest.raises(SourceError, match="must be readable"):
        portion.sources["/a"].read(buffer.slab)
