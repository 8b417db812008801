"""A file written by three ranks is read by programs that know nothing of parnwb or Python, without any plugin."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from interop.content import DATASETS
from mpi_launch import run_mpi

pytestmark = pytest.mark.mpi_skip

HERE = Path(__file__).parent
# Deflate, shuffle and fletcher32: those that every build of HDF5 has.
BUILT_IN_FILTERS = {1, 2, 3}


def h5dump() -> str:
    path = shutil.which("h5dump")
    if path is None:
        pytest.skip("h5dump is not installed (Debian: apt-get install hdf5-tools)")
    return path


def node_with_h5wasm() -> str:
    path = shutil.which("node")
    if path is None:
        pytest.skip("node is not installed (Debian: apt-get install nodejs)")
    if not (HERE / "node_modules" / "h5wasm").is_dir():
        pytest.skip("h5wasm is not installed (tests/environments/node.sh, which make test calls, installs it)")
    return path


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    # "::" keeps HDF5 from looking for plugins at all.
    environment = {**os.environ, "HDF5_PLUGIN_PRELOAD": "::", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert "unable to" not in done.stderr and "error" not in done.stderr.lower(), done.stderr
    return done


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("interop") / "session.nwb"
    done = run_mpi(3, [sys.executable, HERE / "program.py", path], timeout=100)
    assert done.returncode == 0, done.stderr
    return path


def test_only_filters_that_every_hdf5_has(written: Path) -> None:
    used = set()

    def collect(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            creation = item.id.get_create_plist()
            used.update(creation.get_filter(number)[0] for number in range(creation.get_nfilters()))

    with h5py.File(written, "r") as file:
        file.visititems(collect)
        assert len(file["/acquisition/checked/data"].chunks) == 2
    assert used == BUILT_IN_FILTERS


@pytest.mark.parametrize("path", DATASETS)
def test_h5dump_reads_the_values(written: Path, path: str, tmp_path: Path) -> None:
    expected = DATASETS[path]
    order = "BE" if expected.dtype.byteorder == ">" else "LE"
    run(h5dump(), "-d", path, "-b", order, "-o", tmp_path / "values.bin", written)
    assert (tmp_path / "values.bin").read_bytes() == expected.tobytes()


def test_h5dump_reads_the_whole_file(written: Path) -> None:
    said = run(h5dump(), written).stdout
    assert "for other readers" in said
    assert all(f'GROUP "{path.split("/")[2]}"' in said for path in DATASETS)


def test_h5dump_names_the_filters(written: Path) -> None:
    said = run(h5dump(), "-H", "-p", "-d", "/acquisition/checked/data", written).stdout
    assert "CHUNKED ( 300, 5 )" in said
    filters = said[said.index("FILTERS {") :]
    assert filters.index("SHUFFLE") < filters.index("COMPRESSION DEFLATE") < filters.index("FLETCHER32")
    assert "LEVEL 4" in filters


@pytest.fixture(scope="module")
def read_by_h5wasm(written: Path) -> dict[str, object]:
    return json.loads(run(node_with_h5wasm(), HERE / "read.mjs", written, *DATASETS).stdout)


@pytest.mark.parametrize("path", DATASETS)
def test_h5wasm_reads_the_values(read_by_h5wasm: dict[str, dict], path: str) -> None:
    expected, found = DATASETS[path], read_by_h5wasm["datasets"][path]
    assert found["shape"] == list(expected.shape)
    # h5wasm hands out typed arrays, which are in the machine's own byte order.
    native = expected.astype(expected.dtype.newbyteorder("="))
    assert np.dtype(found["dtype"]) == native.dtype
    assert set(found["filters"]) <= BUILT_IN_FILTERS
    assert base64.b64decode(found["bytes"]) == native.tobytes()


def test_h5wasm_reads_text_and_attributes(read_by_h5wasm: dict[str, dict]) -> None:
    assert read_by_h5wasm["session_description"] == "for other readers: é"
    assert read_by_h5wasm["datasets"]["/acquisition/checked/data"]["unit"] == "V"
