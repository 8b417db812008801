"""Files that parnwb did not write go through ``repack``: what readers, validators and h5diff say of them stays.

They come from all of pynwb's factories, from the pynwb of 2021 (``data/make_old_file.py``), and from neuroconv. Those
of hdmf-zarr are in ``test_stores.py``.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import warnings
from collections import Counter
from datetime import datetime, timezone
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

from parnwb.recordings.made_recording import make_spikeglx_recording
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
        by_neuroconv(folder / "neuroconv.nwb")
    return folder


def by_neuroconv(path: Path) -> None:
    """Convert a recording as neuroconv does by itself; the file has the schema, too."""
    from neuroconv.converters import SpikeGLXConverterPipe

    run = make_spikeglx_recording(path.parent / "recording", megabytes=2)
    converter = SpikeGLXConverterPipe(folder_path=run)
    metadata = converter.get_metadata()
    metadata["NWBFile"]["session_start_time"] = datetime(2026, 1, 1, tzinfo=timezone.utc)
    converter.run_conversion(nwbfile_path=path, metadata=metadata)


@pytest.mark.parametrize("name", ["old", "neuroconv", *MADE])
def test_what_others_say_of_a_file_stays(sources: Path, name: str) -> None:
    source, found = sources / f"{name}.nwb", sources / f"{name}_again.nwb"
    told = repack(source, found, chunks="auto", compression="gzip-1", bulk_threshold=1, progress=False)
    assert told.changes and not any(change.is_copied for change in told.changes)
    assert_same(source, found, without=STORAGE)
    assert errors_of(found) == errors_of(source)
    assert not messages_of(found) - messages_of(source)
    with NWBHDF5IO(source, "r") as before, NWBHDF5IO(found, "r") as after:
        Comparison().assertContainerEqual(after.read(), before.read(), ignore_hdmf_attrs=True)
    if shutil.which("h5diff") is None:
        pytest.skip("h5diff is not installed (Debian: apt-get install hdf5-tools)")
    assert subprocess.run(["h5diff", source, found], capture_output=True, check=False).returncode == 0


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
