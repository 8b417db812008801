"""Threads of a rank encode what one would, in the same order; and how many there are."""

from __future__ import annotations

import threading

import h5py
import numpy as np
import pytest

from parnwb.codec import Crew, check_threads, open_pipeline, runs_in_threads, threads_here
from parnwb.codec.pipeline import OwnFilters
from parnwb.errors import PlanError
from parnwb.sources.raw_chunks import read_spec

SETTINGS = {
    "deflate": {"compression": "gzip", "shuffle": True},
    "deflate and checksum": {"compression": "gzip", "fletcher32": True},
    "of HDF5": {"scaleoffset": 0},
    "none": {},
}


@pytest.fixture(params=SETTINGS)
def spec(request):
    with h5py.File("threads", "w", driver="core", backing_store=False) as file:
        shape = {"shape": (9000, 8), "chunks": (1000, 8)}
        yield read_spec(file.create_dataset("d", dtype="<i2", **shape, **SETTINGS[request.param]))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_order_and_bytes_are_those_of_one_thread(spec, threads):
    random = np.random.default_rng(0)
    chunks = [(number, random.integers(-20, 20, (1000, 8)).astype("<i2")) for number in range(40)]
    alone = open_pipeline(spec)
    with Crew(threads) as crew:
        encode = crew.pipeline(spec)
        for _ in range(2):
            found = [(number, mask, bytes(data)) for number, (mask, data) in encode(chunks)]
            expected = [(number, *alone.encode(chunk)) for number, chunk in chunks]
            assert found == [(number, mask, bytes(data)) for number, mask, data in expected]


def test_chunks_are_encoded_at_the_same_time(monkeypatch):
    """Each waits for the other: one after the other, they would wait for ever."""
    meeting = threading.Barrier(2)
    encode = OwnFilters.encode

    def met(self, chunk):
        meeting.wait(timeout=20)
        return encode(self, chunk)

    monkeypatch.setattr(OwnFilters, "encode", met)
    with h5py.File("together", "w", driver="core", backing_store=False) as file:
        spec = read_spec(file.create_dataset("d", shape=(20,), chunks=(10,), dtype="<i2", compression="gzip"))
    with Crew(2) as crew:
        assert len(list(crew.pipeline(spec)((n, np.arange(10, dtype="<i2")) for n in range(4)))) == 4


def test_an_error_of_one_thread_is_that_of_who_asks(monkeypatch):
    def fail(self, chunk):
        raise ValueError("this chunk is odd")

    monkeypatch.setattr(OwnFilters, "encode", fail)
    with h5py.File("odd", "w", driver="core", backing_store=False) as file:
        spec = read_spec(file.create_dataset("d", shape=(20,), chunks=(10,), dtype="<i2", compression="gzip"))
    with pytest.raises(ValueError, match="this chunk is odd"), Crew(3) as crew:
        list(crew.pipeline(spec)((n, np.arange(10, dtype="<i2")) for n in range(9)))


def test_threads_are_as_many_as_slurm_gives_and_the_process_may_use(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))
    assert threads_here(None, {}) == 1
    assert threads_here(None, {"SLURM_CPUS_PER_TASK": "4"}) == 4
    assert threads_here(None, {"SLURM_CPUS_PER_TASK": "64"}) == 6
    assert threads_here(None, {"SLURM_CPUS_PER_TASK": "0"}) == 1
    assert threads_here(None, {"SLURM_CPUS_PER_TASK": "all"}) == 1
    assert threads_here(9, {"SLURM_CPUS_PER_TASK": "4"}) == 9


@pytest.mark.parametrize("given", [0, -1, 1.5, "2", True])
def test_numbers_of_threads_that_mean_nothing_are_refused(given):
    with pytest.raises(PlanError, match="threads must be None or a number of threads"):
        check_threads(given)


def test_only_filters_of_our_own_run_in_threads(spec, request):
    expected = {"deflate": True, "deflate and checksum": True, "of HDF5": False, "none": False}
    assert runs_in_threads(spec) is expected[request.node.callspec.params["spec"]]
