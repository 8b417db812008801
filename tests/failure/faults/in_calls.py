"""Faults in how parnwb is called: keywords, modes, the order of calls, ranks that do something else."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from failure.faults.fault import SEVERAL, Place, fault
from failure.faults.material import session


def _refused(name: str, error: str, *says: str, **keywords: Any) -> None:
    @fault(error, *says, name=f"keyword_{name}")
    def run(place: Place) -> None:
        place.write(session(), **keywords)


_refused("mode_r", "ParnwbError", "mode 'r'", "NWBHDF5IO", mode="r")
_refused(
    "resume_with_mpio",
    "ResumeError",
    "keeps no journal, so backend 'mpio' cannot resume",
    "Use backend='direct'",
    mode="resume",
    backend="mpio",
)
_refused("mode_r_plus", "TargetError", r"mode 'r\+' needs a file that exists", "out.nwb", "Use mode 'a'", mode="r+")
_refused("mode_nonsense", "ParnwbError", "mode must be one of w, w-, x", "'write it'", mode="write it")
_refused("mode_none", "ParnwbError", "mode must be one of w, w-, x", "None", mode=None)
_refused("backend", "PlanError", "backend must be one of auto, direct, mpio, virtual, zarr", "'adios'", backend="adios")
_refused("virtual_resume", "ResumeError", "backend 'virtual' cannot resume", backend="virtual", mode="resume")
_refused("virtual_manifest", "ParnwbError", "cannot leave a manifest", "merge", backend="virtual", manifest=True)
_refused("virtual_writers", "PlanError", "has no writers_per_node", backend="virtual", writers_per_node=1)
_refused("local_alone", "ParnwbError", "which backend 'direct' does not write", backend="direct", local="/tmp")
_refused("local_number", "ParnwbError", "local must be the path of a folder, got 5", backend="virtual", local=5)
_refused("local_missing", "TargetError", "exist on every host", "on host", backend="virtual", local="no/such/folder")
_refused("transfer", "ParnwbError", "transfer must be one of independent, collective", "'both'", transfer="both")
_refused("decomposition", "PlanError", "decomposition must be one of", "balanced", "'dice'", decomposition="dice")
_refused("decomposition_list", "PlanError", "decomposition must be one of", "slab", decomposition=["slab"])
_refused("buffer_zero", "PlanError", "buffer_mb must be positive", "got 0", buffer_mb=0)
_refused("buffer_negative", "PlanError", "buffer_mb must be positive", "got -1.5", buffer_mb=-1.5)
_refused("buffer_nan", "PlanError", "buffer_mb must be positive", "nan", buffer_mb=math.nan)
_refused("buffer_infinite", "PlanError", "buffer_mb must be positive", "inf", buffer_mb=math.inf)
_refused("buffer_text", "PlanError", "buffer_mb must be positive", "'big'", buffer_mb="big")
_refused("compression_name", "ParnwbError", "compression must be", "0-9", "'lzf'", compression="lzf")
_refused("compression_level", "ParnwbError", "compression must be", "0-9", "got 10", compression=10)
_refused("compression_true", "ParnwbError", "compression must be", "0-9", "True", compression=True)
_refused("compression_list", "ParnwbError", "compression must be", "0-9", compression=["gzip"])
_refused("threshold_text", "ParnwbError", "bulk_threshold must be", "'x'", bulk_threshold="x")
_refused("threshold_negative", "ParnwbError", "bulk_threshold must be", "-1", bulk_threshold=-1)
_refused("commit_interval_none", "ParnwbError", "commit_interval must be positive", "None", commit_interval=None)
_refused("overwrite_text", "ParnwbError", "overwrite must be True or False", "'no'", overwrite="no")
_refused("manifest_text", "ParnwbError", "manifest must be True or False", "'x'", manifest="x")
_refused("commit_interval_text", "ParnwbError", "commit_interval must be positive", "'x'", commit_interval="x")


@fault("TargetError", "the output must be the path of a file", "not int", "out.nwb")
def path_is_a_number(place: Place) -> None:
    place.open(path=5)  # type: ignore[arg-type]


def _make_pipe(place: Place) -> None:
    os.mkfifo(place.path)


@fault("TargetError", "must be a regular file, not a device, pipe or socket", "another name", prepare=_make_pipe)
def output_is_a_pipe(place: Place) -> None:
    place.write(session(), overwrite=True)


# -- ranks that pass different things --------------------------------------------------------------------


def _disagreed(name: str, *says: str, **keywords: Any) -> None:
    @fault("AgreementError", *says, name=f"ranks_differ_in_{name}", ranks=SEVERAL)
    def run(place: Place) -> None:
        place.write(session(), **(keywords if place.rank == place.last else {}))


_disagreed("compression", "compression must", "rank 0 has None", "has 7", "same keywords", compression=7)
_disagreed("buffer_mb", "buffer_mb must", "rank 0 has 0.0", "has 64", "same keywords", buffer_mb=64)
_disagreed("overwrite", "overwrite must", "rank 0 has False", "has True", "same keywords", overwrite=True)
_disagreed("decomposition", "decomposition must", "has 'balanced'", "'slab'", "same keywords", decomposition="slab")


_disagreed("queue", "queue must", "rank 0 has 'file'", "'largest'", "same keywords", queue="largest")
_disagreed("queue_numbers", "queue must", "rank 0 has 'file'", "probe", "same keywords", queue={"*probe*": 1})
_disagreed("commit_interval", "commit_interval must", "has 1.5", "same keywords", commit_interval=1.5)
_disagreed("watchdog", "watchdog must", "has 50", "same keywords", watchdog=50)
_disagreed("bulk_threshold", "bulk_threshold must", "rank 0 has 1024", "has 7", "same keywords", bulk_threshold=7)


@fault("AgreementError", "rank 0 has", "link_data", ranks=SEVERAL)
def ranks_differ_in_link_data(place: Place) -> None:
    with place.open() as io:
        io.write(session(), link_data=place.rank != place.last)


@fault("AgreementError", "rank 0 has", "cache_spec", ranks=SEVERAL)
def ranks_differ_in_cache_spec(place: Place) -> None:
    with place.open() as io:
        io.write(session(), cache_spec=place.rank != place.last)


@fault("AgreementError", "rank 0 has", "other.nwb", "same", ranks=SEVERAL)
def ranks_differ_in_file_name(place: Place) -> None:
    place.write(session(), path=place.path if place.rank != place.last else place.folder / "other.nwb")


def _stale_partial_elsewhere(place: Place) -> None:
    (place.folder / "elsewhere").mkdir()
    (place.folder / "elsewhere" / f"{place.path.name}.partial").write_bytes(b"from an earlier, failed attempt")


@fault("AgreementError", "rank 0 has", "elsewhere", ranks=SEVERAL, prepare=_stale_partial_elsewhere)
def ranks_differ_in_folder(place: Place) -> None:
    folder = place.folder if place.rank != place.last else place.folder / "elsewhere"
    place.write(session(), path=folder / place.path.name)


@fault("TargetError", "the output must be the path of a file", "NoneType", ranks=SEVERAL)
def path_is_none_on_one_rank(place: Place) -> None:
    from parnwb import NWBParallelIO

    path: Any = place.path if place.rank != place.last else None
    with NWBParallelIO(path, comm=place.comm, **place.settings) as io:
        io.write(session())


@fault("ParnwbError", "mode 'r'", ranks=SEVERAL)
def mode_is_wrong_on_one_rank(place: Place) -> None:
    place.write(session(), mode="r" if place.rank == place.last else "w")


@fault("AgreementError", "mode must be the same", "rank 0 has 'a'", "has 'w-'", ranks=SEVERAL)
def ranks_differ_in_mode(place: Place) -> None:
    place.write(session(), mode="a" if place.rank == 0 else "w-")


@fault("AgreementError", "herd_path must be the same", "terms.zip", ranks=SEVERAL)
def ranks_differ_in_herd_path(place: Place) -> None:
    place.write(session(), herd_path="terms.zip" if place.rank == place.last else None)


@fault(None, leaves=True, clean=False)
def herd_is_left_by_the_root(place: Place) -> None:
    with place.open(herd_path=place.folder / "terms.zip") as io:
        io.write(session())
    place.comm.Barrier()
    with ZipFile(place.folder / "terms.zip") as archive:
        assert "objects.tsv" in archive.namelist()


@fault("LaunchError", "no communicator was given", "comm=MPI.COMM_WORLD", ranks=SEVERAL)
def no_communicator(place: Place) -> None:
    place.write(session(), comm=None)


# -- the order of calls ----------------------------------------------------------------------------------


@fault("ParnwbError", "write can be called once", r"out\.nwb")
def write_twice(place: Place) -> None:
    nwbfile = session()
    with place.open() as io:
        io.write(nwbfile)
        io.write(nwbfile)


@fault("ParnwbError", "is closed", r"other\.nwb", leaves=True)
def write_after_close(place: Place) -> None:
    io = place.open(path=place.folder / "other.nwb")
    io.close()
    place.write(session())
    io.write(session())


@fault("ParnwbError", "write takes", "got compress_harder")
def write_with_unknown_keyword(place: Place) -> None:
    with place.open() as io:
        io.write(session(), compress_harder=True)


@fault("ParnwbError", "takes an NWBFile", "got dict")
def write_something_else(place: Place) -> None:
    with place.open() as io:
        io.write({"acquisition": []})


@fault("AgreementError", "root must have the NWBFile", "None")
def nwbfile_is_none_on_root(place: Place) -> None:
    place.write(None if place.rank == 0 else session())


@fault(None)
def nobody_writes(place: Place) -> None:
    with place.open():
        pass


def _closes_without_writing(name: str, who: int) -> None:
    @fault(
        "AgreementError", "same collective calls", "'write'", "'close'", "every rank", name=name, ranks=SEVERAL
    )
    def run(place: Place) -> None:
        with place.open() as io:
            if place.rank != who % place.size:
                io.write(session())


_closes_without_writing("root_does_not_write", 0)
_closes_without_writing("last_rank_does_not_write", -1)


@fault("AgreementError", "same collective calls", "'commit'", "'completing|'close'", ranks=SEVERAL)
def commit_on_all_ranks_but_one(place: Place) -> None:
    with place.open() as io:
        io.write(session())
        if place.rank != place.last:
            io.commit()


class _UserError(Exception):
    pass


def _raises(name: str, who: int, *, after: bool) -> None:
    @fault("_UserError", "the user's own words", name=name)
    def run(place: Place) -> None:
        with place.open() as io:
            if after:
                io.write(session())
            if place.rank == who % place.size:
                raise _UserError("the user's own words")
            if not after:
                io.write(session())


_raises("user_raises_before_write_on_root", 0, after=False)
_raises("user_raises_before_write_on_last_rank", -1, after=False)
_raises("user_raises_after_write_on_root", 0, after=True)
_raises("user_raises_after_write_on_last_rank", -1, after=True)


@fault("_UserError", r"words of rank \d", own_text=True)
def user_raises_on_every_rank(place: Place) -> None:
    with place.open() as io:
        io.write(session())
        raise _UserError(f"words of rank {place.rank}")


@fault("_UserError", "in the meantime")
def user_raises_while_others_close(place: Place) -> None:
    import time

    with place.open() as io:
        io.write(session())
        if place.rank == place.last:
            time.sleep(0.3)
            raise _UserError("in the meantime")


@fault("AgreementError", "same collective calls", "close", ranks=SEVERAL)
def sys_exit_on_one_rank(place: Place) -> None:
    """An exit without an error ends the block well, which is a collective call that the others do not make."""
    with place.open() as io:
        if place.rank == place.last:
            raise SystemExit(0)
        io.write(session())


@fault("RemoteError|SystemExit", "3", ranks=SEVERAL, own_text=True)
def sys_exit_with_an_error_on_one_rank(place: Place) -> None:
    with place.open() as io:
        if place.rank == place.last:
            raise SystemExit(3)
        io.write(session())


class _TwoArguments(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __reduce__(self) -> Any:
        raise RuntimeError("no pickle")


def _odd_error(name: str, make: Any, error: str, *says: str) -> None:
    @fault(error, *says, name=name, ranks=SEVERAL, own_text=True)
    def run(place: Place) -> None:
        with place.open() as io:
            if place.rank == place.last:
                raise make()
            io.write(session())


def _class_of_one_rank() -> Exception:
    """Return an exception of a class that other ranks do not have, though this rank's pickle finds it."""
    kind = type("OfOneRank", (Exception,), {"__module__": __name__})
    globals()["OfOneRank"] = kind
    return kind("known here alone")


_odd_error("error_that_does_not_unpickle", lambda: _TwoArguments("one", "two"), "_TwoArguments|RemoteError", "one")
_odd_error("error_without_text", _Mute, "_Mute|RemoteError")
_odd_error("error_of_a_class_of_one_rank", _class_of_one_rank, "OfOneRank|RemoteError", "known here alone")
_odd_error("error_with_a_long_text", lambda: _UserError("x" * 2_000_000), "_UserError", "xxx")


PROGRESS = ("start", "advance", "finish")


class _BrokenProgress:
    """Raises where it is told to."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __getattr__(self, name: str) -> Any:
        if name not in PROGRESS:
            raise AttributeError(name)

        def told(*_: Any) -> None:
            if name == self.where:
                raise OSError(28, f"no space left for the log in {name}")

        return told


def _broken_progress(where: str) -> None:
    @fault(None, name=f"progress_raises_in_{where}", leaves=True)
    def run(place: Place) -> None:
        place.write(session(), progress=_BrokenProgress(where))


for _where in PROGRESS:
    _broken_progress(_where)


# -- paths -----------------------------------------------------------------------------------------------


@fault(None, leaves=True)
def relative_path_and_another_folder_meanwhile(place: Place) -> None:
    before = Path.cwd()
    os.chdir(place.folder)
    try:
        with place.open(path=place.path.name) as io:
            os.chdir("/")
            io.write(session())
    finally:
        os.chdir(before)


@fault(None, leaves=True)
def path_as_text(place: Place) -> None:
    place.write(session(), path=str(place.path))
