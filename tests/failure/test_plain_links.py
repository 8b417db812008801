"""What plain pynwb makes of the programs of ``in_links.py`` and ``in_movies.py``: a file, no error, misled readers."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from failure.faults import in_movies  # noqa: F401 - registers its own
from failure.faults.in_links import PLAIN, divided
from pynwb import NWBHDF5IO

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning", "ignore::ResourceWarning")]


@pytest.mark.parametrize("name", PLAIN)
def test_plain_pynwb_writes_what_misleads(name: str, tmp_path: Path) -> None:
    plain = PLAIN[name]
    path = tmp_path / plain.output
    plain.prepare(tmp_path)
    nwbfile, keywords = divided(plain.content(tmp_path))
    if plain.change is not None:
        plain.change(tmp_path)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with NWBHDF5IO(path, "w", **keywords) as io:
            io.write(nwbfile, cache_spec=False)
    assert not [str(item.message) for item in warned if issubclass(item.category, UserWarning)]
    assert plain.damage(path) == plain.shows
