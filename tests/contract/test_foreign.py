"""Files that parnwb did not write go through ``repack``: what readers, validators and h5diff say of them stays.

They come from all of pynwb's factories, and from the pynwb of 2021 (``data/make_old_file.py``).
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import warnings
from collections import Counter
from pathlib import Path

import h5py
import pynwb
import pytest
from contract.cases import TYPES, build
from contract.inputs import prepare
from contract.rewritten import STORAGE, assert_same
from hdmf.testing import TestCase as Comparison
from nwbinspector import inspect_nwbfile
from pynwb import NWBHDF5IO

from parnwb.repacking import repack

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once, pytest.mark.filterwarnings("ignore")]

OLD = Path(__file__).with_name("data") / "pynwb-1.5.1.nwb.gz"
# The first has a schema of its own, the second nothing that all ranks would write.
MADE = [name for name in TYPES if name not in ("extension", "retinotopy")]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all files."""
    folder = tmp_path_factory.mktemp("foreign")
    inputs = folder / "inputs"
    inputs.mkdir()
    prepare(inputs)
    (folder / "old.nwb").write_bytes(gzip.decompress(OLD.read_bytes()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in MADE:
            with NWBHDF5IO(folder / f"{name}.nwb", "w") as io:
                io.write(build(name, inputs, expected=True), cache_spec=False)
    return folder


@pytest.mark.parametrize("name", ["old", *MADE])
def test_what_others_say_of_a_file_stays(sources: Path, name: str) -> None:
    source, found = sources / f"{name}.nwb", sources / f"{name}_again.nwb"
    told = repack(source, found, chunks="auto", compression="gzip-1", bulk_threshold=1, progress=False)
    assert told.changes and not any(change.is_copied for change in told.changes)
    assert_same(source, found, without=STORAGE)
    if shutil.which("h5diff"):
        assert subprocess.run(["h5diff", source, found], capture_output=True, check=False).returncode == 0
    assert errors_of(found) == errors_of(source)
    assert not messages_of(found) - messages_of(source)
    with NWBHDF5IO(source, "r") as before, NWBHDF5IO(found, "r") as after:
        Comparison().assertContainerEqual(after.read(), before.read(), ignore_hdmf_attrs=True)


def test_the_old_file_is_old(sources: Path) -> None:
    with h5py.File(sources / "old_again.nwb") as file:
        assert file.attrs["nwb_version"] == "2.3.0" and "specifications" not in file
        assert file["/acquisition/raw/data"].compression_opts == 1
    assert [str(error) for error in errors_of(sources / "old.nwb")] == [
        "ImageSeries/data (acquisition/film): argument missing"
    ]


def errors_of(path: Path) -> list[str]:
    return sorted(map(str, pynwb.validate(path=str(path))))


def messages_of(path: Path) -> Counter[tuple[str, ...]]:
    messages = inspect_nwbfile(nwbfile_path=path, skip_validate=True)
    return Counter(
        (item.check_function_name, str(item.location), item.message.replace(str(path), "")) for item in messages
    )
