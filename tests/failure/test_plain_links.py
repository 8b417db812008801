"""What plain pynwb makes of the programs of ``faults/linking.py``: a file, no error, and readers who are misled."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from failure.faults import in_copies, in_links, in_movies, in_places  # noqa: F401 - they register their own
from failure.faults.linking import PLAIN, linking, prepare, raw
from pynwb import NWBHDF5IO

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning", "ignore::ResourceWarning")]


@pytest.mark.parametrize("name", PLAIN)
def test_plain_pynwb_writes_what_misleads(name: str, tmp_path: Path) -> None:
    plain = PLAIN[name]
    path = tmp_path / plain.output
    plain.prepare(tmp_path)
    content = plain.content(tmp_path)
    if plain.change is not None:
        plain.change(tmp_path)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        plain.way(content, path, NWBHDF5IO)
    assert not [str(item.message) for item in warned if issubclass(item.category, UserWarning)]
    assert plain.damage(path) == plain.shows


def test_what_stops_plain_pynwb_as_well(tmp_path: Path) -> None:
    """A file that is linked to and replaced by the one which is written: HDF5 does not truncate what is open."""
    prepare(tmp_path)
    nwbfile = linking(raw(tmp_path))
    with pytest.raises(OSError, match="already open"), NWBHDF5IO(tmp_path / "raw.h5", "w") as io:
        io.write(nwbfile)
