"""Which backend follows from the build and the data."""

from __future__ import annotations

import json
import subprocess
import sys

import h5py
import pytest

import parnwb
from parnwb import site
from parnwb.errors import LaunchError, PlanError
from parnwb.site import check_parallel_hdf5, choose_backend


@pytest.mark.parametrize("parallel", [True, False])
def test_auto_says_what_it_chose_and_why(monkeypatch, parallel):
    monkeypatch.setattr(site, "parallel_hdf5", lambda: parallel)
    choice = choose_backend("auto")
    assert choice.name == "direct" and "can be resumed" in choice.reason


def test_wanted_backend_is_taken(monkeypatch):
    monkeypatch.setattr(site, "parallel_hdf5", lambda: True)
    for name in ("direct", "mpio"):
        assert choose_backend(name).name == name


def test_mpio_needs_parallel_hdf5(monkeypatch):
    monkeypatch.setattr(site, "parallel_hdf5", lambda: False)
    with pytest.raises(LaunchError, match="built with MPI.*backend='direct'"):
        choose_backend("mpio")
    assert choose_backend("direct").name == "direct"


def test_unknown_backend_is_refused_by_name():
    with pytest.raises(PlanError, match="backend must be one of auto, direct, mpio, virtual, zarr, got 'adios'"):
        choose_backend("adios")


def test_build_is_asked():
    assert site.parallel_hdf5() == h5py.get_config().mpi


@pytest.mark.parametrize(
    ("version", "bad"),
    [((1, 10, 8), False), ((1, 14, 0), True), ((1, 14, 2), True), ((1, 14, 3), False), ((2, 0, 0), False)],
)
def test_release_that_returns_wrong_data_is_refused(monkeypatch, version, bad):
    monkeypatch.setattr(h5py.version, "hdf5_version_tuple", version)
    check_parallel_hdf5(chunked_unfiltered=False)
    if bad:
        with pytest.raises(LaunchError, match="wrong data.*1.14.3"):
            check_parallel_hdf5(chunked_unfiltered=True)
    else:
        check_parallel_hdf5(chunked_unfiltered=True)


# -- versions that ranks compare -------------------------------------------------------------------------------


def test_who_needs_hdf5_tells_its_version():
    assert site.versions() == {
        "the version of parnwb": parnwb.__version__,
        "the version of h5py": h5py.version.version,
        "the version of HDF5": h5py.version.hdf5_version,
    }


def test_who_does_not_need_hdf5_does_not_import_it():
    """It tells what is installed, which is the same release; of HDF5 it knows nothing, and agrees with all."""
    program = "import json, sys; from parnwb import site; found = site.versions(leads=False); "
    program += "print(json.dumps([sorted(map(str, found.values())), 'h5py' in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [sorted([str(...), h5py.version.version, parnwb.__version__]), False]


NOT_RECORDED = """
import importlib.metadata

def none(name):
    raise importlib.metadata.PackageNotFoundError(name)

importlib.metadata.version = none
from parnwb import site
print(site.versions(leads=False)["the version of HDF5"])
"""


def test_a_release_that_no_package_records_is_asked_of_h5py():
    done = subprocess.run([sys.executable, "-c", NOT_RECORDED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == h5py.version.hdf5_version
