"""Values in raw files: what HDF5 finds from here is what counts, and not what lies beside the file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from parnwb.links.at_hand import check_at_hand, lack_of
from parnwb.links.following import PREFIX

pytestmark = pytest.mark.mpi_skip


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> h5py.File:
    """Return a file whose values are in a raw one beside it, opened from another folder."""
    for folder in ("there", "here"):
        (tmp_path / folder).mkdir()
    monkeypatch.delenv(PREFIX, raising=False)
    monkeypatch.chdir(tmp_path / "there")
    with h5py.File("one.h5", "w") as new:
        new.create_dataset("raw", data=np.arange(9, dtype="<i2"), external=[("raw.bin", 0, 18)])
    monkeypatch.chdir(tmp_path / "here")
    return h5py.File(tmp_path / "there" / "one.h5", "r")


@pytest.mark.parametrize("another", [False, True])
def test_a_file_of_the_same_name_in_the_working_folder_is_not_it(file: h5py.File, another: bool) -> None:
    if another:  # which HDF5 would read, and say nothing
        Path("raw.bin").write_bytes(bytes(18))
    lack = lack_of(file["raw"])
    assert lack is not None and "raw.bin is beside the file, and HDF5 looks for it in the working folder" == lack.said
    with pytest.raises(Exception, match="must be there: raw.bin is beside") as raised:
        check_at_hand(file["raw"])
    assert PREFIX in str(raised.value)


def test_where_hdf5_looks_beside_the_file_it_is_at_hand(file: h5py.File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX, "${ORIGIN}")
    assert lack_of(file["raw"]) is None
    Path(file.filename).with_name("raw.bin").unlink()
    lack = lack_of(file["raw"])
    assert lack is not None and "there is no such file" in lack.said
