"""Whatever the rank count and backend: an export is the file that pynwb's export makes."""

from __future__ import annotations

import shutil
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np
import pytest
from contract.compare import Allowed, Snapshot, differences, object_ids, snapshot
from contract.exporting import BACKENDS, EXPORTS, export, prepare
from contract.inputs import keep
from hdmf.build import DatasetBuilder
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO, H5DataIO

from parnwb import NWBParallelIO
from parnwb.authoring.bulk_rule import BulkRule
from parnwb.backends import encoder
from parnwb.builders import unwrapped
from parnwb.errors import ParnwbError, SourceError
from parnwb.sources.raw_chunks import RawChunks
from parnwb.verification import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]

RANKS = (1, 3, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the source, all exports by pynwb (``pynwb``), and by each number of ranks and backend."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "pynwb").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepare(folder)
        for name in EXPORTS:
            path = folder / "pynwb" / f"{name}.nwb"
            export(name, folder / "source.nwb", 0, lambda path=path: NWBHDF5IO(path, "w"))
    for ranks in RANKS:
        for backend in BACKENDS:
            (folder / str(ranks) / backend).mkdir(parents=True)
        program = Path(__file__).with_name("exporting.py")
        argv = [sys.executable, program, folder / "source.nwb", folder / str(ranks)]
        done = run_mpi(ranks, argv, timeout=300)
        assert done.returncode == 0, f"{ranks} ranks\n{done.stdout[-500:]}\n{done.stderr[-5000:]}"
    return folder


def exported(folder: Path, ranks: int, backend: str, case: str) -> Path:
    path = folder / str(ranks) / backend / f"{case}.nwb"
    if path.with_suffix(".failed").exists():
        pytest.fail(path.with_suffix(".failed").read_text(), pytrace=False)
    return path


def comparable(path: Path) -> Snapshot:
    """Return what the file holds; the external link leads from every folder to the same file."""
    found = snapshot(path)
    for entry in found.values():
        if entry.get("kind") == "external link":
            entry["target"] = (Path(entry["target"][0]).name, entry["target"][1])
    return found


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", [name for name in EXPORTS if name != "compressed"])
def test_file_is_the_one_that_pynwb_makes(folder: Path, case: str, backend: str, ranks: int) -> None:
    allowed = Allowed.of(backend, size_ratio=1.3 if backend == "mpio" else 1.1)
    expected = comparable(folder / "pynwb" / f"{case}.nwb")
    different = differences(expected, comparable(exported(folder, ranks, backend, case)), allowed)
    assert not different, "\n".join(different)


def test_data_without_a_filter_stay_without(folder: Path) -> None:
    """``compression`` is for what is new."""
    path = exported(folder, 3, "direct", "compressed")
    with h5py.File(path) as file, h5py.File(folder / "pynwb" / "compressed.nwb") as plain:
        assert file["/acquisition/bare/data"].compression is None
        assert np.array_equal(file["/acquisition/more/data"], plain["/acquisition/more/data"])
        assert file["/acquisition/more/data"].compression == "gzip"


@pytest.mark.parametrize("case", ["as_it_is", "changed"])
def test_pynwb_and_object_ids(folder: Path, case: str) -> None:
    path = exported(folder, 4, "direct", case)
    with NWBHDF5IO(path, "r") as io:
        assert io.read().acquisition["gzip"].data.shape == (450, 8)
    before, after = object_ids(folder / "source.nwb"), object_ids(path)
    assert all(after[name] == before[name] for name in after if name in before)


def test_chunks_are_taken_over_as_they_are_stored(folder: Path, tmp_path: Path) -> None:
    """Without decoding them, bit for bit, with the filters that some of them skipped; and none that was not written."""
    path, source = tmp_path / "out.nwb", Path(shutil.copy(folder / "source.nwb", tmp_path))
    shutil.copy(folder / "sources.h5", tmp_path)
    noise = np.random.default_rng(1).integers(0, 2**16, (300, 4)).astype("u2")
    with NWBHDF5IO(source, "a") as io:
        file = io.read()
        keep(file, "noise", H5DataIO(noise, compression="lzf", chunks=(70, 4)))
        io.write(file)
    with patch.object(encoder.Crew, "pipeline", side_effect=AssertionError("a chunk is encoded again")):
        with patch.object(encoder, "IndependentChunkIterator", side_effect=AssertionError("a chunk is decoded")):
            with NWBParallelIO(path, "w", progress=False, bulk_threshold=0) as io:
                io._settings = replace(io._settings, rule=_OnlyChunked(threshold=0))
                io.export(source, cache_spec=False)
    with h5py.File(source) as before, h5py.File(path) as after:
        compared = masks = 0
        for name in [f"scratch/{name}" for name in before["scratch"]] + ["acquisition/gzip/data"]:
            if not isinstance(before[name], h5py.Dataset) or before[name].chunks is None:
                continue
            grid = (range(0, n, c) for n, c in zip(before[name].shape, before[name].chunks, strict=True))
            for start in np.array(np.meshgrid(*grid)).reshape(before[name].ndim, -1).T.tolist():
                old, new = (RawChunks(file[name]).read(tuple(start)) for file in (before, after))
                assert old == new
                compared += 1
                masks += old is not None and old[0] != 0
        assert compared > 50 and masks > 0
        assert RawChunks(after["scratch/lacking"]).read((60, 0)) is None
    assert any("never written" in str(finding) for finding in verify(path).findings)


class _OnlyChunked(BulkRule):
    """Leaves contiguous datasets, which have no chunks, to the skeleton."""

    def applies(self, builder: DatasetBuilder) -> bool:
        return super().applies(builder) and unwrapped(builder.data).chunks is not None


def test_a_resumed_export_takes_over_the_rest(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.nwb"
    taken, take_over = [], encoder.take_over

    def interrupted(*arguments: object) -> object:
        taken.append(arguments)
        if len(taken) == 6:
            raise KeyError("an end")
        return take_over(*arguments)

    settings = {"progress": False, "bulk_threshold": 0, "buffer_mb": 0.002, "commit_interval": 1e-9}
    with patch.object(encoder, "take_over", interrupted), pytest.raises(KeyError):
        NWBParallelIO.export_io(path, folder / "source.nwb", **settings)
    assert path.with_name("out.nwb.partial").exists()
    with NWBParallelIO(path, "resume", **settings) as io:
        io.export(folder / "source.nwb")
        assert io.written is not None and io.written.plan.done
    different = differences(comparable(folder / "pynwb" / "as_it_is.nwb"), comparable(path), Allowed())
    assert not different, "\n".join(different)


def test_what_is_no_export_is_refused(folder: Path, tmp_path: Path) -> None:
    path, source = tmp_path / "out.nwb", folder / "source.nwb"
    with pytest.raises(ParnwbError, match="takes an NWBHDF5IO or a path, got int"):
        NWBParallelIO.export_io(path, 7, progress=False)
    with pytest.raises(SourceError, match=r"cannot be opened.*nowhere\.nwb"):
        NWBParallelIO.export_io(path, tmp_path / "nowhere.nwb", progress=False)
    with pytest.raises(ParnwbError, match="write_args can be .*got herd"):
        NWBParallelIO.export_io(path, source, write_args={"herd": None}, progress=False)
    with pytest.raises(ParnwbError, match="the root must have"):
        NWBParallelIO.export_io(path, None, progress=False)
    with NWBHDF5IO(source, "r") as io, NWBHDF5IO(source, "r") as other:
        with pytest.raises(ParnwbError, match="must have been read by the provided src_io"):
            NWBParallelIO.export_io(path, io, nwbfile=other.read(), progress=False)
    assert not list(tmp_path.iterdir())
    path.write_bytes(source.read_bytes())
    with pytest.raises(ParnwbError, match="an export makes a new file"):
        with NWBParallelIO(path, "r+", progress=False) as appending:
            appending.export(source)
    assert path.read_bytes() == source.read_bytes()
