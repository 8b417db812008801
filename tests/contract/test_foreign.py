"""Files that parnwb did not write go through ``repack``: what readers, validators and h5diff say of them stays.

They come from all of pynwb's factories, one of them with a schema of its own, from the pynwb of 2021
(``data/make_old_file.py``), and from neuroconv; and one is laid out as MatNWB does it. Those of hdmf-zarr are in
``test_stores.py``.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import h5py
import pynwb
import pytest
from contract.cases import TYPES, build
from contract.inputs import prepare
from contract.odd_files import as_matnwb
from contract.rewritten import STORAGE, assert_same
from hdmf.testing import TestCase as Comparison
from nwbinspector import inspect_nwbfile
from pynwb import NWBHDF5IO

from parnwb.errors import LayoutError
from parnwb.recordings.made_recording import make_spikeglx_recording
from parnwb.repacking import merge, repack, split
from parnwb.verification import verify

pytestmark = [
    pytest.mark.mpi_skip,
    pytest.mark.once,
    pytest.mark.usefixtures("own_type_map"),
    pytest.mark.filterwarnings("ignore"),
]

OLD = Path(__file__).with_name("data") / "pynwb-1.5.1.nwb.gz"
# It has nothing that all ranks would write.
MADE = [name for name in TYPES if name != "retinotopy"]
OWN_SCHEMA = "extension"
# It has a dataset that is one compound value.
ONE_ROW = "ecephys"


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
            file = build(name, inputs, expected=True)  # which lets pynwb know a schema before a writer is made
            with NWBHDF5IO(folder / f"{name}.nwb", "w") as io:
                io.write(file, cache_spec=name == OWN_SCHEMA)
        as_matnwb(folder / "matnwb.nwb")
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


HERD = "resources"


@pytest.mark.parametrize("name", ["old", "matnwb", "neuroconv", *MADE])
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


# What readers come upon where a part's references lead to what it has not, or to what only another part has.
OF_PARTS = ("Invalid HDF5 object reference", "has not been built")


@pytest.mark.parametrize("name", ["matnwb", "neuroconv"])
def test_what_others_say_of_a_file_stays_when_it_is_split_and_merged(sources: Path, tmp_path: Path, name: str) -> None:
    source, found = sources / f"{name}.nwb", tmp_path / "merged.nwb"
    parts = split(source, tmp_path / "links.nwb", bulk_threshold=1 << 16, progress=False)
    merge(parts[-1].path, found, progress=False)
    assert errors_of(found) == errors_of(source)
    assert not messages_of(found) - messages_of(source)
    with NWBHDF5IO(source, "r") as before, NWBHDF5IO(found, "r") as after:
        Comparison().assertContainerEqual(after.read(), before.read(), ignore_hdmf_attrs=True)
    for part in parts:
        assert not Counter(errors_of(part.path)) - Counter(errors_of(source)), part.path.name
        new = messages_of(part.path) - messages_of(source)
        assert not [message for message in new if not message[0].endswith(OF_PARTS)], part.path.name


def test_the_old_file_is_old(sources: Path) -> None:
    with h5py.File(sources / "old_again.nwb") as file:
        assert file.attrs["nwb_version"] == "2.3.0" and "specifications" not in file
        assert file["/acquisition/raw/data"].compression_opts == 1
    assert [str(error) for error in errors_of(sources / "old.nwb")] == [
        "ImageSeries/data (acquisition/film): argument missing"
    ]


def test_a_file_laid_out_as_by_matnwb_is_one(sources: Path) -> None:
    with h5py.File(sources / "matnwb_again.nwb") as file:
        assert h5py.h5a.open(file.id, b"neurodata_type").get_type().is_variable_str() is False
        assert file["/acquisition/left/data"].maxshape == (None, None)
        assert "object_id" not in file["/acquisition/referred"].attrs and "object_id" in file["/acquisition/left"].attrs
        assert isinstance(file[file.attrs[".specloc"]], h5py.Group) and file["/units/is_good"].dtype == "u1"


@pytest.mark.parametrize("name", ["old", "matnwb", "neuroconv", *(n for n in MADE if n not in (ONE_ROW, HERD))])
def test_files_are_what_pynwb_exports_after_a_store(sources: Path, tmp_path: Path, name: str) -> None:
    """Which is what they were, but for the version and what newer schemas add to old files."""
    pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is an extra, which is not installed here")
    source, store, found = sources / f"{name}.nwb", tmp_path / f"{name}.nwb.zarr", tmp_path / f"{name}.nwb"
    exported = tmp_path / "exported.nwb"
    with NWBHDF5IO(source, "r") as before, NWBHDF5IO(exported, "w") as io:
        io.export(src_io=before, write_args={"link_data": False})
    repack(source, store, bulk_threshold=1, progress=False)
    assert verify(store, validate=False).ok
    repack(store, found, bulk_threshold=1, progress=False)
    assert not Counter(errors_of(found)) - Counter(errors_of(source))
    assert not messages_of(found) - messages_of(source)
    with NWBHDF5IO(exported, "r") as before, NWBHDF5IO(found, "r") as after:
        Comparison().assertContainerEqual(after.read(), before.read(), ignore_hdmf_attrs=True)


def test_what_hdmf_zarr_cannot_write_is_refused(sources: Path, tmp_path: Path) -> None:
    pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is an extra, which is not installed here")
    from hdmf_zarr import NWBZarrIO

    source = sources / f"{ONE_ROW}.nwb"
    with NWBHDF5IO(source, "r") as before, NWBZarrIO(str(tmp_path / "own.nwb.zarr"), "w") as io:
        with pytest.raises(IndexError):
            io.export(src_io=before, write_args={"link_data": False})
    with pytest.raises(LayoutError, match=r"hdmf cannot write all of it to out\.nwb\.zarr.*Keep it"):
        repack(source, tmp_path / "out.nwb.zarr", progress=False)
    assert not list(tmp_path.glob("out*"))


def test_external_resources_go_to_a_store_and_not_back(sources: Path, tmp_path: Path) -> None:
    """By hdmf (6.2) their tables cannot be exported from a store to HDF5; that is told, and nothing is left."""
    pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is an extra, which is not installed here")
    store = tmp_path / "herd.nwb.zarr"
    repack(sources / f"{HERD}.nwb", store, bulk_threshold=1, progress=False)
    assert verify(store, validate=False).ok
    with pytest.raises(LayoutError, match="/general/external_resources/files"):
        repack(store, tmp_path / "back.nwb", bulk_threshold=1, progress=False)
    assert not list(tmp_path.glob("back*"))


def test_a_schema_of_its_own_goes_through_all_formats(sources: Path) -> None:
    """In a process that has it from nowhere but the file."""
    pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is an extra, which is not installed here")
    names = [f"{OWN_SCHEMA}{end}" for end in (".nwb", ".nwb.zarr", "_again.nwb.zarr", "_back.nwb")]
    program = f"""
import sys, warnings
warnings.simplefilter("ignore")
from parnwb.repacking import repack
from parnwb.verification import verify
from parnwb.verification import verify
names = {[str(sources / name) for name in names]}
for old, new in zip(names, names[1:]):
    repack(old, new, bulk_threshold=1, progress=False)
    verdict = verify(new)
    assert verdict.ok, verdict.findings
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    first, last = sources / names[0], sources / names[-1]
    assert errors_of(last) == errors_of(first) == []
    assert not messages_of(last) - messages_of(first)
    with h5py.File(first) as there, h5py.File(last) as here:
        assert list(here["specifications"]) == list(there["specifications"])
        assert "ndx-contract" in here["specifications"]
    with NWBHDF5IO(first, "r") as before, NWBHDF5IO(last, "r") as after:
        file = after.read()
        Comparison().assertContainerEqual(file, before.read(), ignore_hdmf_attrs=True)
        assert type(file.acquisition["first"]).__name__ == "TetrodeSeries"


def errors_of(path: Path) -> list[str]:
    return sorted(map(str, pynwb.validate(path=str(path))))


def messages_of(path: Path) -> Counter[tuple[str, ...]]:
    messages = inspect_nwbfile(nwbfile_path=path, skip_validate=True)
    return Counter(
        (item.check_function_name, str(item.location), item.message.replace(str(path), "")) for item in messages
    )
