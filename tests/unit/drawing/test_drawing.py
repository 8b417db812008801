"""Markup, charts and plans as pictures."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parnwb.drawing import charts
from parnwb.drawing.markup import Markup, tag
from parnwb.drawing.numbers import bytes_in_words, seconds_in_words
from parnwb.drawing.plan import MOST_BOXES, Drawn, drawing, hyperslabs, plan_fragment
from parnwb.drawing.plot import COLOURS, save_plot
from parnwb.errors import ParnwbError, TargetError
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.planning.plan import WritePlan


def plan(ranks: int, *shapes: tuple[int, ...]) -> WritePlan:
    specs = [
        DatasetSpec(f"/acquisition/<b>{number}/data", shape, shape, "<i2", tuple(min(n, 10) for n in shape))
        for number, shape in enumerate(shapes)
    ]
    return WritePlan(FileLayout(tuple(specs)), ranks)


def test_text_cannot_become_markup() -> None:
    assert tag("p", "<b>", Markup("<i></i>"), None, ["&"], class_="a", data_heading='"') == (
        '<p class="a" data-heading="&quot;">&lt;b&gt;<i></i>&amp;</p>'
    )
    assert tag("meta", name="x") == '<meta name="x">'


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (56_700_000, "56.7 MB"), (123e9, "123 GB"), (4e13, "40.0 TB")],
)
def test_bytes(number: float, words: str) -> None:
    assert bytes_in_words(number).replace("\N{NO-BREAK SPACE}", " ") == words


def test_seconds() -> None:
    assert [seconds_in_words(n) for n in (0.123, 12, 119, 300, 7200)] == [
        "0.12 s",
        "12.0 s",
        "119 s",
        "5.0 min",
        "2.0 h",
    ]


def test_neighbours_that_are_alike_are_one_shape() -> None:
    drawn = charts.stacked("two", {"read": [1, 1, 0, 2], "write": [1, 1, 0, 0]}, 2)
    assert re.findall(r' d="(.*?)"', drawn) == ["M0 100V50H2V100zM3 100V0H4V100z", "M0 50V0H2V50z"]


@pytest.mark.parametrize("ranks", [1, 3, 7])
def test_the_hyperslabs_of_all_ranks_cover_a_dataset(ranks: int) -> None:
    for drawn in hyperslabs(plan(ranks, (95, 33), (40,), (20, 10, 3)).to_json()).values():
        assert covered(drawn) == pytest.approx(1) and not drawn.omission
        assert all(0 <= box.left and box.left + box.width <= 1 + 1e-9 for box in drawn.boxes)


def covered(drawn: Drawn) -> float:
    return sum(box.width * box.height for box in drawn.boxes)


def recording(ranks: int, shape: tuple[int, ...] = (20_000_000, 384), chunks: tuple[int, ...] = (30_000, 64)) -> Any:
    spec = DatasetSpec("/acquisition/AP/data", shape, shape, "<i2", chunks)
    return WritePlan(FileLayout((spec,)), ranks).to_json()


def test_all_of_256_ranks_are_drawn() -> None:
    values = recording(256)
    (drawn,) = hyperslabs(values).values()
    assert (drawn.slabs, drawn.ranks, drawn.omission) == (682, 256, "")
    assert covered(drawn) == pytest.approx(1)
    assert "; 256 ranks</div>" in drawing(values)


def test_of_more_hyperslabs_than_are_drawn_each_rank_has_its_largest() -> None:
    values = recording(600, chunks=(3000, 64))
    (drawn,) = hyperslabs(values).values()
    assert len(drawn.boxes) == MOST_BOXES < drawn.slabs
    assert {box.colour for box in drawn.boxes} == set(range(600)) and drawn.ranks == 600
    assert 0.9 < covered(drawn) < 1
    assert f"; 600 ranks; drawn are 800 of {drawn.slabs} hyperslabs, the largest</div>" in drawing(values)


def test_of_more_ranks_than_hyperslabs_are_drawn_some_are_drawn_evenly() -> None:
    values = recording(3000, chunks=(3000, 64))
    (drawn,) = hyperslabs(values).values()
    ranks = sorted(box.colour for box in drawn.boxes)
    assert len(set(ranks)) == MOST_BOXES and drawn.ranks == 3000
    assert max(after - before for before, after in pairwise([*ranks, 3000])) <= 4
    assert "; 3000 ranks; drawn are 800 of" in drawing(values) and "of 800 of the ranks, evenly" in drawing(values)


def test_ranks_that_are_not_shown_are_not_counted() -> None:
    values = {**recording(256), "ranks": 20_000}
    assert "; 256 of the ranks shown</div>" in drawing(values)


def test_a_plan_for_very_many_ranks_is_a_page_of_bounded_size() -> None:
    shown = plan(20_000, (3_000_000, 20))._repr_html_()
    assert len(shown) < 300_000 and "Shown are the first 256 of 20000 ranks" in shown
    assert all(len(drawn.boxes) <= MOST_BOXES for drawn in hyperslabs(plan(2000, (100_000, 20)).to_json()).values())


def test_names_in_plans_are_text() -> None:
    values = plan(2, (95, 33)).to_json()
    assert "/acquisition/&lt;b&gt;0/data" in drawing(values) and "<b>" not in plan_fragment(values)


def test_an_empty_plan() -> None:
    assert "Ranks" in plan(2)._repr_html_()


def test_a_plan_is_plotted_with_a_colour_for_each_rank(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib (parnwb[plot])")
    values = plan(9, (95, 33), (400,)).to_json()
    save_plot(values, tmp_path / "plan.svg")
    filled = re.findall(r"fill: (#\w{6}); stroke: #333333", (tmp_path / "plan.svg").read_text())
    expected = [COLOURS[box.colour % len(COLOURS)] for drawn in hyperslabs(values).values() for box in drawn.boxes]
    assert filled == expected and len(set(filled)) == len(COLOURS)


def test_a_rank_has_as_much_of_a_picture_as_of_the_data(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib (parnwb[plot])")
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread

    values = plan(4, (400, 30)).to_json()
    save_plot(values, tmp_path / "plan.png")
    pixels = np.round(255 * imread(tmp_path / "plan.png")[..., :3]).astype(int)
    colours = [np.round(255 * np.array(to_rgb(colour))).astype(int) for colour in COLOURS]
    counts = [int((pixels == colour).all(axis=-1).sum()) for colour in colours]
    shares = [share["bytes"] / values["total_bytes"] for share in values["shares"]]
    assert [count / sum(counts) for count in counts[:4]] == pytest.approx(shares, abs=0.02)
    assert not any(counts[4:])


def test_where_a_plot_cannot_go(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib (parnwb[plot])")
    with pytest.raises(TargetError, match="No such file or directory"):
        save_plot(plan(1, (4,)).to_json(), tmp_path / "no" / "plan.png")
    with pytest.raises(ParnwbError, match="End it in .png"):
        save_plot(plan(1, (4,)).to_json(), tmp_path / "plan.docx")
    assert not list(tmp_path.iterdir())


def test_matplotlib_is_asked_for_where_it_is_missing(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from pathlib import Path\nfrom parnwb.drawing.plot import COLOURS, save_plot\n"
        "try:\n    save_plot({}, Path('x.png'))\nexcept Exception as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.stdout.strip() == "pictures need matplotlib. pip install 'parnwb[plot]'"
