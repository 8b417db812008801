"""Whatever the rank count: the Zarr store is the one that hdmf-zarr writes, file by file.

Each rank count is one launch, which writes all cases; the tests compare what it left.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pynwb
import pytest
from contract.roads import numbers_of_ranks
from contract.store_cases import CASES, ROWS, SMALL, Rows, build, described, differences, noise, prepare, series
from hdmf.common import DynamicTable
from mpi_launch import run_mpi

from parnwb import NWBParallelIO, Stream
from parnwb.backends import store as backend
from parnwb.comm import Ranks
from parnwb.errors import LinkError, ParnwbError, ResumeError, TargetError
from parnwb.repacking import merge, repack, split
from parnwb.sources.raw_chunks import RawChunks
from parnwb.stores.rule import StoreRule
from parnwb.verification import verify

pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is an extra, which is not installed here")

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore")]

RANKS = numbers_of_ranks(1, 2, 3, 5)


class Stores:
    """What the launches have left, and what hdmf-zarr makes of the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        prepare(folder)
        self._launched: set[int] = set()
        self._expected: dict[str, Any] = {}

    def expected(self, case: str) -> dict[str, Any]:
        if case not in self._expected:
            from hdmf_zarr import NWBZarrIO

            from parnwb.stores.references import known_pickles

            path = self.folder / "hdmf_zarr" / f"{case}.nwb.zarr"
            path.parent.mkdir(exist_ok=True)
            with known_pickles(), NWBZarrIO(str(path), "w") as io:
                io.write(build(case, self.folder, expected=True), **CASES[case][2])
            self._expected[case] = described(path)
        return self._expected[case]

    def written(self, case: str, ranks: int) -> Path:
        outputs = self.folder / str(ranks)
        if ranks not in self._launched:
            self._launched.add(ranks)
            outputs.mkdir()
            program = Path(__file__).with_name("store_program.py")
            done = run_mpi(ranks, [sys.executable, program, self.folder, outputs], timeout=200)
            assert done.returncode == 0, f"{ranks} ranks\n{done.stdout[-500:]}\n{done.stderr[-5000:]}"
        if (failed := outputs / f"{case}.failed").exists():
            pytest.fail(failed.read_text(), pytrace=False)
        return outputs / f"{case}.nwb.zarr"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return Stores(tmp_path_factory.mktemp("stores"))


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("case", CASES)
def test_store_is_the_one_that_hdmf_zarr_writes(stores: Stores, case: str, ranks: int) -> None:
    found = described(stores.written(case, ranks))
    assert not (different := differences(stores.expected(case), found)), "\n".join(different)


@pytest.mark.parametrize("ranks", RANKS)
def test_verify_finds_nothing_wrong(stores: Stores, ranks: int) -> None:
    told = json.loads(stores.written("crossed", ranks).with_name("verdicts.json").read_text())
    assert told["findings"] == [[], [], []]
    assert "/acquisition/e/data" in told["compared"]


def shown(cell: Any) -> str:
    """Return a table's cell as text: objects by their ids, whatever is in lists and tuples."""
    if isinstance(cell, list | tuple):
        return f"[{', '.join(map(shown, cell))}]"
    return str(getattr(cell, "object_id", cell))


def values_of(path: Path) -> dict[str, Any]:
    """Return what pynwb finds in a file of either format, by object id: fields as text, arrays as their elements."""
    from hdmf_zarr import NWBZarrIO

    from parnwb.stores.references import known_pickles

    kind = NWBZarrIO if path.is_dir() else pynwb.NWBHDF5IO
    with known_pickles(), kind(str(path), "r") as io:
        file = io.read()
        found: dict[str, Any] = {file.object_id: file.identifier}
        for item in file.objects.values():
            data = getattr(item, "data", None)
            if isinstance(item, DynamicTable):
                frame = item.to_dataframe()
                cells = frame.map(shown)
                found[item.object_id] = cells.to_dict() if len(frame) else list(frame.columns)
            elif data is not None and getattr(data, "shape", None) and np.asarray(data).dtype.kind in "biuf":
                values = np.asarray(data[:])
                found[item.object_id] = (item.name, values.dtype.newbyteorder("="), values.tolist())
            else:
                found[item.object_id] = item.name
    return found


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize(
    "name",
    ["crossed.nwb.zarr", "crossed.nwb", "recoded.nwb.zarr", "recoded.nwb", "anew.nwb.zarr"],
)
def test_files_are_the_same_in_the_other_format(stores: Stores, name: str, ranks: int) -> None:
    path = stores.written("crossed", ranks).with_name(name)
    assert values_of(path) == values_of(stores.folder / "session.nwb")


@pytest.mark.parametrize("ranks", RANKS)
def test_a_store_written_once_more_is_the_same_file_by_file(stores: Stores, ranks: int) -> None:
    folder = stores.written("crossed", ranks).parent
    old, new = folder / "crossed.nwb.zarr", folder / "again.nwb.zarr"
    assert not (different := differences(described(old), described(new))), "\n".join(different)
    chunk = "acquisition/shuffled/data/1.0"
    assert (old / chunk).read_bytes() == (new / chunk).read_bytes(), "stored bytes"


@pytest.mark.parametrize("ranks", RANKS)
def test_a_store_is_replaced_by_one_with_other_settings(stores: Stores, ranks: int) -> None:
    import numcodecs
    import zarr

    folder = stores.written("crossed", ranks).parent
    assert not [item for item in folder.iterdir() if item.name.startswith("anew") and item.name != "anew.nwb.zarr"]
    series = zarr.open(str(folder / "anew.nwb.zarr"), mode="r")["acquisition"]
    assert series["shuffled/data"].chunks == (100, 8) and series["shuffled/data"].compressor == numcodecs.GZip(1)
    assert series["chunked/data"].chunks == (301, 3) and series["lzf/data"].compressor == numcodecs.Zstd(2)
    assert series["lzf/data"].chunks == (400, 8)


def test_stores_hold_what_external_links_lead_to(tmp_path: Path) -> None:
    """As far as hdmf can follow; else it is said what to do, and that works."""
    prepare(tmp_path)
    folder, small = tmp_path / "here", {"progress": False, "bulk_threshold": 10_000}
    folder.mkdir()
    split(tmp_path / "session.nwb", folder / "simple.nwb", parts={"a.nwb": ["/acquisition/shuffled"]}, **small)
    split(tmp_path / "session.nwb", folder / "referring.nwb", parts={"b.nwb": ["/acquisition/e"]}, **small)
    repack(folder / "simple.nwb", folder / "simple.nwb.zarr", **SMALL)
    with pytest.raises(LinkError, match=r"/acquisition/e .*parnwb merge"):
        repack(folder / "referring.nwb", folder / "referring.nwb.zarr", **SMALL)
    merge(folder / "referring.nwb", folder / "merged.nwb", **small)
    repack(folder / "merged.nwb", folder / "referring.nwb.zarr", **SMALL)
    assert sorted(path.name for path in folder.glob("*.zarr*")) == ["referring.nwb.zarr", "simple.nwb.zarr"]
    for path in folder.glob("*.nwb"):
        path.unlink()
    for name in ("simple", "referring"):
        assert values_of(folder / f"{name}.nwb.zarr") == values_of(tmp_path / "session.nwb")
        assert not found(folder / f"{name}.nwb.zarr")


@pytest.mark.parametrize("case", CASES)
def test_stores_and_exports_of_hdmf_zarr_become_files(stores: Stores, case: str, tmp_path: Path) -> None:
    """What it wrote itself, and the HDF5 file that it exports from that."""
    from hdmf_zarr import NWBZarrIO

    from parnwb.stores.references import known_pickles

    stores.expected(case)
    store, exported = stores.folder / "hdmf_zarr" / f"{case}.nwb.zarr", tmp_path / "exported.nwb"
    with known_pickles(), NWBZarrIO(str(store), "r") as source, pynwb.NWBHDF5IO(exported, "w") as io:
        io.export(src_io=source, write_args={"link_data": False})
    expected = values_of(exported)
    for source in (store, exported):
        repack(source, tmp_path / f"{source.suffix}.nwb", compression="gzip-1", progress=False)
        assert values_of(tmp_path / f"{source.suffix}.nwb") == expected


def test_settings_cross_where_both_formats_have_them(stores: Stores) -> None:
    import numcodecs
    import zarr

    folder = stores.written("crossed", 3).parent
    there = zarr.open(str(folder / "crossed.nwb.zarr"), mode="r")["acquisition"]
    assert there["shuffled/data"].chunks == (400, 3) and there["shuffled/data"].filters == [numcodecs.Shuffle(2)]
    assert there["shuffled/data"].compressor == numcodecs.Zlib(4)
    assert there["chunked/data"].compressor is None and there["chunked/data"].filters is None
    assert there["checked/data"].fill_value == -3 and there["lzf/data"].compressor == numcodecs.Blosc()
    recoded = zarr.open(str(folder / "recoded.nwb.zarr"), mode="r")["acquisition"]
    assert recoded["chunked/data"].chunks == (301, 3) and recoded["chunked/data"].compressor == numcodecs.Zstd(2)
    assert recoded["shuffled/data"].chunks == (100, 8) and recoded["shuffled/data"].compressor == numcodecs.GZip(1)
    with h5py.File(stores.folder / "session.nwb") as old, h5py.File(folder / "crossed.nwb") as new:
        for path in ("/acquisition/shuffled/data", "/acquisition/checked/data"):
            chunks = [RawChunks(file[path]) for file in (old, new)]
            assert chunks[0].read((400, 0)) == chunks[1].read((400, 0)), "stored bytes"
            assert old[path].compression_opts == new[path].compression_opts == 4
            assert (old[path].shuffle, old[path].fletcher32) == (new[path].shuffle, new[path].fletcher32)
        assert new["/acquisition/chunked/data"].compression is None
        assert new["/acquisition/lzf/data"].compression == "gzip"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    prepare(tmp_path)
    path = tmp_path / "out.nwb.zarr"
    with NWBParallelIO(path, "w", **SMALL, compression="gzip") as io:
        io.write(build("session", tmp_path))
    assert verify(path, against=build("session", tmp_path), validate=False).ok
    return path


def found(path: Path) -> list[str]:
    return [str(finding) for finding in verify(path, validate=False).findings]


def test_missing_and_damaged_chunks_are_found(store: Path) -> None:
    chunk = store / "acquisition/e/data/0.0"
    data = chunk.read_bytes()
    chunk.unlink()
    (finding,) = found(store)
    assert finding.startswith("/acquisition/e/data[0:") and finding.endswith("chunks have no file")
    chunk.write_bytes(data[: len(data) // 2])
    (finding,) = found(store)
    assert finding.startswith("/acquisition/e/data[0:") and "cannot be read" in finding
    (store / "general/extracellular_ephys/electrodes/label/0").unlink()
    assert len(found(store)) == 2


def test_other_values_than_the_source_are_found(store: Path) -> None:
    import zarr

    zarr.open(str(store), mode="r+")["acquisition/e/data"][17, 3] += 1
    verdict = verify(store, against=build("session", store.parent), rule=StoreRule(threshold=0), validate=False)
    (finding,) = verdict.findings
    assert "1 value differs from the source, first at (17, 3)" in str(finding)


def test_metadata_that_readers_would_miss_are_found(store: Path) -> None:
    (store / "acquisition/e/.zattrs").write_text("{}")
    assert any("is not what the consolidated metadata have" in line for line in found(store))
    (store / "acquisition/e/.zattrs").unlink()
    assert any(".zattrs is missing" in line for line in found(store))


def test_links_to_nothing_are_found(store: Path) -> None:
    import shutil

    shutil.rmtree(store / "acquisition/e/data")
    assert any("/processing/behavior/linked" in line and "is not there" in line for line in found(store))


def test_what_stores_do_not_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.nwb.zarr"
    for settings in ({"manifest": True}, {"writers_per_node": 1}, {"no_copy": True}, {"backend": "direct"}):
        with pytest.raises(ParnwbError, match="Zarr store"):
            NWBParallelIO(path, "w", progress=False, **settings)
    with pytest.raises(ResumeError, match="no journal is kept"):
        NWBParallelIO(path, "resume")
    for compression in ("blosc2-zstd", "bitshuffle-lz4"):
        with pytest.raises(ParnwbError, match="Zarr does not have"), NWBParallelIO(
            path, "w", compression=compression, **SMALL
        ) as io:
            io.write(build("gzip", tmp_path))
    stream = pynwb.NWBFile("s", "i", datetime(2026, 1, 1, tzinfo=timezone.utc))
    stream.add_acquisition(series("stream", Stream("i2", (3,))))
    with pytest.raises(ParnwbError, match="Stream"), NWBParallelIO(path, "w", **SMALL) as io:
        io.write(stream)
    assert not list(tmp_path.iterdir())


def test_what_is_not_done_with_stores_is_said_with_the_remedy(store: Path) -> None:
    folder = store.parent
    before = {item.name for item in folder.iterdir()}
    file, small = folder / "session.nwb", {"bulk_threshold": 1000, "progress": False}
    for work, name in (
        (lambda: merge(store, folder / "new.nwb"), "merge"),
        (lambda: merge(store, dry_run=True), "merge"),
        (lambda: merge(file, folder / "new.nwb.zarr"), "merge"),
        (lambda: split(store, folder / "new.nwb"), "split"),
        (lambda: split(file, folder / "new.nwb.zarr", **small), "split"),
        (lambda: split(file, folder / "new.nwb", parts={"one.zarr": ["/acquisition/e"]}, **small), "split"),
    ):
        with pytest.raises(ParnwbError, match=f"{name} reads and writes HDF5 files only.*parnwb repack"):
            work()
    with pytest.raises(ParnwbError, match="would become of a file is told of HDF5 files only.*give an output"):
        repack(store, dry_run=True)
    with pytest.raises(ParnwbError, match="HDF5 files only.*dandi validate"):
        verify(store, dandi=True)
    with pytest.raises(ResumeError, match="no journal is kept"):
        repack(file, folder / "new.nwb.zarr", resume=True, progress=False)
    assert {item.name for item in folder.iterdir()} == before
    renamed = store.rename(folder / "store")
    with pytest.raises(ParnwbError, match=r"must have a name that ends in \.zarr"):
        repack(renamed, inplace=True)


def test_existing_stores_are_replaced_or_not(tmp_path: Path) -> None:
    path = tmp_path / "out.nwb.zarr"

    def write(mode: str, **settings: Any) -> None:
        with NWBParallelIO(path, mode, **SMALL, **settings) as io:
            io.write(build("gzip", tmp_path))

    write("w")
    before = path.stat().st_ino
    for mode in ("w", "w-", "x"):
        with pytest.raises(TargetError, match="is not replaced"):
            write(mode)
    for mode in ("a", "r+"):
        with pytest.raises(TargetError, match="not to Zarr stores"):
            write(mode)
    assert path.stat().st_ino == before
    write("w", overwrite=True)
    assert path.stat().st_ino != before
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    (tmp_path / "letters.zarr").mkdir()
    with pytest.raises(TargetError, match="takes the place of a Zarr store only"):
        NWBParallelIO(tmp_path / "letters.zarr", "w", overwrite=True)


def test_every_file_is_a_step_for_the_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There can be so many that all of them together take longer than a step may; and their names much memory."""
    told, unsafe = [], []

    def write(self: backend.ChunkPen, *batch: Any) -> None:
        real_write(self, *batch)
        unsafe.append(self._files.unsafe)

    real_write, real_step = backend.ChunkPen.write, Ranks.step
    monkeypatch.setattr(backend, "MOST_UNSAFE", 20)
    monkeypatch.setattr(backend.ChunkPen, "write", write)
    monkeypatch.setattr(Ranks, "step", lambda ranks, text: (told.append(text), real_step(ranks, text)))
    with NWBParallelIO(tmp_path / "out.nwb.zarr", "w", **SMALL) as io:
        io.write(build("codecs", tmp_path))
    monkeypatch.setattr(backend, "MOST_UNSAFE", 10**6)
    assert max(unsafe) <= 20
    with NWBParallelIO(tmp_path / "more.nwb.zarr", "w", **SMALL) as io:
        io.write(build("codecs", tmp_path))
    chunks = [path for path in (tmp_path / "more.nwb.zarr/acquisition").rglob("*.*") if path.name[0] != "."]
    assert max(unsafe) > 20 and len(chunks) > 20
    names = [f"making {path.relative_to(tmp_path / 'more.nwb.zarr')} safe (fsync)" for path in chunks]
    assert set(names) <= set(told)


def test_failed_sources_leave_nothing(tmp_path: Path) -> None:
    class Failing(Rows):
        def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
            if selection[0].stop > 3000:
                raise OSError("the disk is gone")
            return super()._get_data(selection)

    file = build("gzip", tmp_path)
    data = Failing(noise((ROWS, 16)), chunk_shape=(500, 4), buffer_shape=(500, 16))
    file.add_acquisition(series("failing", data))
    with pytest.raises(ParnwbError, match="the disk is gone"), NWBParallelIO(
        tmp_path / "out.nwb.zarr", "w", **SMALL
    ) as io:
        io.write(file)
    assert not list(tmp_path.iterdir())


def test_killed_jobs_leave_no_final_name(tmp_path: Path) -> None:
    """And the next job begins anew, whatever they left."""
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from mpi4py import MPI
from contract.store_cases import build, SMALL
from parnwb import NWBParallelIO
from parnwb.target import FolderFiles
write, rank = FolderFiles.write, MPI.COMM_WORLD.rank
def killed(self, folder, files):
    write(self, folder, files)
    if rank == 1 and self.unsafe >= 3:
        os.kill(os.getpid(), 9)
FolderFiles.write = killed
with NWBParallelIO({str(tmp_path / "out.nwb.zarr")!r}, "w", comm=MPI.COMM_WORLD, **SMALL) as io:
    io.write(build("codecs", Path({str(tmp_path)!r})) if rank == 0 else None)
"""
    done = run_mpi(2, [sys.executable, "-c", program], timeout=60)
    assert done.returncode != 0
    assert not (tmp_path / "out.nwb.zarr").exists() and (tmp_path / "out.nwb.zarr.partial").is_dir()
    with NWBParallelIO(tmp_path / "out.nwb.zarr", "w", break_lock=True, **SMALL) as io:
        io.write(build("gzip", tmp_path))
    assert verify(tmp_path / "out.nwb.zarr").ok
    assert [item.name for item in tmp_path.iterdir()] == ["out.nwb.zarr"]


def test_pickles_that_would_run_code_do_not(store: Path) -> None:
    import pickle

    import zarr

    class Running:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (store / "was_run",)

    array = zarr.open(str(store), mode="r")["general/extracellular_ephys/electrodes/group"]
    encoded = array.compressor.encode(pickle.dumps(Running()))
    (store / "general/extracellular_ephys/electrodes/group/0").write_bytes(encoded)
    (finding,) = found(store)
    assert "electrodes/group" in finding and "and this pickle wants pathlib.Path" in finding
    assert not (store / "was_run").exists()
