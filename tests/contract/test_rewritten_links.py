"""References and links of files that are written once more lead to what they led to, or it is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pynwb
import pytest
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

from parnwb.cli import main
from parnwb.errors import LinkError
from parnwb.repacking import merge, repack, split

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]

N = 20_000
Make = Callable[[h5py.File], None]
QUIET: dict[str, Any] = {"progress": False}


def series(file: h5py.File, name: str, first: float = 0.0, owner: str = "") -> h5py.Group:
    """Make a large series, with an id if the file is to have an owner."""
    group = file.create_group(f"acquisition/{name}")
    group.attrs["neurodata_type"] = "TimeSeries"
    if owner:
        group.attrs["object_id"] = f"{name} of {owner}"
    group["data"] = np.arange(N) + first
    return group


def made(path: Path, make: Make) -> Path:
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        make(file)
    return path


# -- references in sequences --------------------------------------------------------------------------------------


def scaled(file: h5py.File) -> None:
    """Make a series with a scale in another one, and a sequence of references to both."""
    file["before"] = np.zeros(1000)  # so that nothing keeps its address
    one, other = (series(file, name, owner="this") for name in ("one", "other"))
    other["data"].make_scale("time")
    one["data"].dims[0].attach_scale(other["data"])
    both = np.empty(2, h5py.ref_dtype)
    both[:] = [one.ref, other["data"].ref]
    one.create_dataset("sequences", (2,), h5py.vlen_dtype(h5py.ref_dtype))[1] = both
    del file["before"]


def check_scaled(path: Path) -> None:
    with h5py.File(path) as file:
        one = file["acquisition/one"]
        assert one["data"].dims[0][0].name == "/acquisition/other/data"
        assert [file[each].name for each in one["sequences"][1]] == ["/acquisition/one", "/acquisition/other/data"]
        (pair,) = file["acquisition/other/data"].attrs["REFERENCE_LIST"]
        assert file[pair["dataset"]].name == "/acquisition/one/data"


def test_sequences_of_references_lead_where_they_led(tmp_path: Path) -> None:
    source = made(tmp_path / "s.h5", scaled)
    for name, settings in {"same": {}, "gzip": {"compression": "gzip-1"}, "virtual": {"backend": "virtual"}}.items():
        repack(source, tmp_path / f"{name}.h5", **settings, **QUIET)
        check_scaled(tmp_path / f"{name}.h5")
    (part, links) = split(source, tmp_path / "links.h5", **QUIET)
    assert {change.path for change in part.changes} == {"/acquisition/one/data", "/acquisition/other/data"}
    merge(links.path, tmp_path / "again.h5", **QUIET)
    check_scaled(tmp_path / "again.h5")


def test_what_sequences_refer_to_comes_along(tmp_path: Path) -> None:
    made(tmp_path / "s.h5", scaled)
    link = h5py.ExternalLink("s.h5", "/acquisition/one")
    master = made(tmp_path / "m.h5", lambda file: file.create_group("acquisition").__setitem__("one", link))
    merge(master, tmp_path / "out.h5", **QUIET)
    check_scaled(tmp_path / "out.h5")


def test_scales_are_left_out_of_other_formats_as_pynwb_does(tmp_path: Path) -> None:
    """They are gone, and not wrong: hdmf does not read them."""
    zarr = pytest.importorskip("zarr", reason="hdmf-zarr is an extra, which is not installed here")
    source = nwb(tmp_path / "s.nwb", "one")
    with h5py.File(source, "r+") as file:
        one = file["acquisition/one"]
        one["timestamps"].make_scale("time")
        one["data"].dims[0].attach_scale(one["timestamps"])
    repack(source, tmp_path / "s.nwb.zarr", **QUIET)
    found = zarr.open_group(str(tmp_path / "s.nwb.zarr"), mode="r")["acquisition/one"]
    assert not {"DIMENSION_LIST", "REFERENCE_LIST"} & {*found["data"].attrs, *found["timestamps"].attrs}


# -- parts that have the same paths -------------------------------------------------------------------------------


def nwb(path: Path, *names: str, first: float = 0.0) -> Path:
    """Write a session whose series share the first one's times, as pynwb lets them."""
    file = NWBFile("a", path.name, datetime(2024, 1, 1, tzinfo=timezone.utc))
    times: Any = np.arange(N) + first
    for name in names:
        file.add_acquisition(TimeSeries(name=name, data=np.arange(N) + first, unit="V", timestamps=times))
        times = file.acquisition[names[0]]
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


def linked(**parts: str) -> Make:
    """Return what makes a file of links to series in other files."""

    def make(file: h5py.File) -> None:
        file.attrs["object_id"] = "master"
        for name, part in parts.items():
            file[f"acquisition/{name}"] = h5py.ExternalLink(part, f"/acquisition/{name}")

    return make


def test_shared_times_of_another_part_are_not_taken(tmp_path: Path) -> None:
    for name, first in (("a", 0.0), ("b", 1e6)):
        nwb(tmp_path / f"{name}.nwb", "ts0", "ts1", first=first)
    master = made(tmp_path / "m.nwb", linked(ts0="a.nwb", ts1="b.nwb"))
    with pytest.raises(LinkError, match=r"/acquisition/ts0 is needed by what comes from .*b\.nwb, and another object"):
        merge(master, tmp_path / "out.nwb", **QUIET)
    assert not (tmp_path / "out.nwb").exists()
    master = made(tmp_path / "m.nwb", linked(ts0="b.nwb", ts1="b.nwb"))
    merge(master, tmp_path / "out.nwb", **QUIET)
    with h5py.File(tmp_path / "out.nwb") as file:
        assert file["acquisition/ts1/timestamps"][0] == 1e6


def test_shared_times_bring_the_series_that_has_them(tmp_path: Path) -> None:
    nwb(tmp_path / "a.nwb", "ts0", "ts1")
    shutil.copy(nwb(tmp_path / "m.nwb"), tmp_path / "master.nwb")
    with h5py.File(tmp_path / "master.nwb", "r+") as file:
        file["acquisition/ts1"] = h5py.ExternalLink("a.nwb", "/acquisition/ts1")
    merge(tmp_path / "master.nwb", tmp_path / "out.nwb", **QUIET)
    assert pynwb.validate(path=str(tmp_path / "out.nwb")) == []
    with NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        found = io.read().acquisition
        assert found["ts1"].timestamps is found["ts0"].timestamps and len(found["ts0"].data) == N


@pytest.mark.parametrize("owners", [("a", "b"), ("", "")], ids=["ids", "no ids"])
def test_references_to_what_has_no_id_are_not_mixed(tmp_path: Path, owners: tuple[str, str]) -> None:
    """Neither have the datasets an id, nor does anything if the file is none of NWB."""
    for name, first, owner in zip("ab", (0.0, 1e6), owners, strict=True):

        def part(file: h5py.File, first: float = first, owner: str = owner) -> None:
            for number in range(2):
                series(file, f"ts{number}", first, owner)["small"] = np.arange(10.0) + first
            file["acquisition/ts1"].attrs["of"] = file["acquisition/ts0/small"].ref

        made(tmp_path / f"{name}.h5", part)
    master = made(tmp_path / "m.h5", linked(ts0="a.h5", ts1="b.h5"))
    if not owners[0]:
        with h5py.File(master, "r+") as file:
            del file.attrs["object_id"]
    with pytest.raises(LinkError, match="another object has that path"):
        merge(master, tmp_path / "out.h5", **QUIET)


@pytest.mark.parametrize("owner", ["this", ""], ids=["ids", "no ids"])
def test_what_was_split_is_merged_where_ids_are_few(tmp_path: Path, owner: str) -> None:
    """What parts have in common, small as it is, is the same in all of them."""

    def make(file: h5py.File) -> None:
        if owner:
            file.attrs["object_id"] = owner
        file["common/times"], file["common/text"] = np.arange(10.0), ["a", "b"]
        for name in ("one", "other"):
            group = series(file, name, owner=owner)
            group["times"] = h5py.SoftLink("/common/times")
            group["relative"] = h5py.SoftLink("../../common/text")
            group.attrs["of"] = file["common"].ref

    source = made(tmp_path / "s.h5", make)
    files = split(source, tmp_path / "m.h5", **QUIET)
    assert len(files) == 3
    merge(files[-1].path, tmp_path / "out.h5", **QUIET)
    with h5py.File(tmp_path / "out.h5") as file:
        for name in ("one", "other"):
            group = file["acquisition"][name]
            assert group.get("times", getlink=True).path == "/common/times"
            assert group.get("relative", getlink=True).path == "../../common/text"
            assert file[group.attrs["of"]] == file["common"] and np.array_equal(group["data"], np.arange(N))
        assert list(file) == ["acquisition", "common"] and list(file["common"]) == ["text", "times"]


# -- other files, seen from the new one ---------------------------------------------------------------------------


def raw(file: h5py.File, first: float = 0.0) -> None:
    file["d"] = np.arange(N) + first


def virtual(name: str) -> Make:
    def make(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((N,), "f8")
        layout[:] = h5py.VirtualSource(name, "d", (N,))
        file.create_virtual_dataset("v", layout, fillvalue=-1)

    return make


def numbered(file: h5py.File) -> None:
    """Make a virtual dataset of as many files as there are."""
    limits = (h5py.h5s.UNLIMITED,)
    place, creation = h5py.h5s.create_simple((N,), limits), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    place.select_hyperslab((0,), limits, (N,), (N,))
    creation.set_virtual(place, b"raw%b.h5", b"/d", h5py.h5s.create_simple((N,)))
    h5py.h5d.create(file.id, b"v", h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple((N,), limits), creation)


def by_link(file: h5py.File) -> None:
    file["v"] = h5py.ExternalLink("raw.h5", "/d")


def movie(file: h5py.File) -> None:
    """Make a series of images, of which one is beside the file and one in the net."""
    names = np.array(["clip.avi", "https://example.org/clip.avi"], dtype=h5py.string_dtype())
    file["acquisition/movie/external_file"] = names


@pytest.mark.parametrize(
    ("make", "stored"),
    [
        (by_link, "raw.h5"),
        (virtual("raw.h5"), "raw.h5"),
        (virtual("50%%_raw.h5"), "50%_raw.h5"),
        (numbered, "raw0.h5"),
        (movie, "clip.avi"),
    ],
    ids=["link", "virtual", "per cent", "numbered", "movie"],
)
def test_the_same_files_must_be_found_from_a_new_folder(tmp_path: Path, make: Make, stored: str) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    source, there = made(old / "s.h5", make), made(old / stored, raw)
    new.mkdir()
    with pytest.raises(LinkError, match=r"must be found from the folder of the new file \[at"):
        repack(source, new / "s.h5", **QUIET)
    made(new / stored, lambda file: raw(file, 1.0))  # which is another file
    with pytest.raises(LinkError, match="the new file, where that is another file"):
        repack(source, new / "s.h5", **QUIET)
    assert sorted(os.listdir(new)) == [stored]
    (new / stored).unlink()
    (new / stored).symlink_to(there)
    repack(source, new / "s.h5", **QUIET)
    (new / stored).unlink()
    shutil.copy(there, new)
    repack(source, new / "s.h5", overwrite=True, **QUIET)
    if make is not movie:
        with h5py.File(new / "s.h5") as file:
            assert np.array_equal(file["v"], np.arange(N))
        with pytest.raises(LinkError, match="which would replace it"):
            repack(source, there, overwrite=True, **QUIET)
    there.unlink()
    repack(source, tmp_path / "s.h5", **QUIET)  # nor was it found before


@pytest.mark.parametrize("make", [by_link, virtual("raw.h5")], ids=["link", "virtual"])
def test_a_source_may_be_a_symlink(tmp_path: Path, make: Make) -> None:
    """HDF5 looks beside the real file, too."""
    real, shown, new = (tmp_path / name for name in ("real", "shown", "new"))
    made(real / "s.h5", make)
    made(real / "raw.h5", raw)
    for folder in (shown, new):
        folder.mkdir()
    (shown / "s.h5").symlink_to(real / "s.h5")
    with pytest.raises(LinkError, match=r"raw\.h5, which is .*/real/raw\.h5, must be found"):
        repack(shown / "s.h5", new / "s.h5", **QUIET)
    repack(shown / "s.h5", real / "out.h5", **QUIET)
    repack(shown / "s.h5", inplace=True, **QUIET)
    for path in (real / "out.h5", shown / "s.h5"):
        with h5py.File(path) as file:
            assert np.array_equal(file["v"], np.arange(N))


def test_external_storage_is_merged_where_hdf5_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks in the working folder, unless a variable says otherwise, which it reads when it is loaded."""
    (np.arange(N) + 0.0).tofile(tmp_path / "raw.bin")
    storage = {"external": [("raw.bin", 0, 8 * N)]}
    master = made(tmp_path / "m.h5", lambda file: file.create_dataset("v", (N,), "f8", **storage))
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.delenv("HDF5_EXTFILE_PREFIX", raising=False)
    monkeypatch.chdir(other)
    for name in ("", "raw.bin"):  # a file that is there instead does not count
        if name:
            np.zeros(N).tofile(other / name)
        with pytest.raises(LinkError, match=r"raw\.bin is beside the file.*Set HDF5_EXTFILE_PREFIX='\$\{ORIGIN\}'"):
            merge(master, tmp_path / "out.h5", **QUIET)
    paths = (str(master), str(tmp_path / "asked.h5"))
    program = f"from parnwb.repacking import merge; merge(*{paths!r}, progress=False)"
    settings = {**os.environ, "HDF5_EXTFILE_PREFIX": "${ORIGIN}"}
    done = subprocess.run([sys.executable, "-c", program], env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    merge(master, tmp_path / "from_here.h5", **QUIET)
    for name in ("asked", "from_here"):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            assert not file["v"].external and np.array_equal(file["v"], np.arange(N))
    os.truncate(tmp_path / "raw.bin", 800)
    with pytest.raises(LinkError, match=r"raw\.bin, which has 800 bytes of 160000.*Bring that file there"):
        merge(master, tmp_path / "cut.h5", **QUIET)


def test_movies_of_parts_must_be_found_from_the_merged_file(tmp_path: Path) -> None:
    made(tmp_path / "parts" / "p.h5", movie)
    (tmp_path / "parts" / "clip.avi").write_bytes(b"frames")
    link = h5py.ExternalLink("parts/p.h5", "/acquisition/movie")
    master = made(tmp_path / "m.h5", lambda file: file.create_group("acquisition").__setitem__("movie", link))
    with pytest.raises(LinkError, match=r"clip\.avi.*copy that file to the same place"):
        merge(master, tmp_path / "out.h5", **QUIET)
    shutil.copy(tmp_path / "parts" / "clip.avi", tmp_path)
    merge(master, tmp_path / "out.h5", **QUIET)


def test_movies_must_be_found_from_the_other_format(tmp_path: Path) -> None:
    pytest.importorskip("hdmf_zarr", reason="hdmf-zarr is an extra, which is not installed here")
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    file = NWBFile("a", "b", datetime(2024, 1, 1, tzinfo=timezone.utc))
    named = {"external_file": ["clip.avi"], "starting_frame": [0], "format": "external"}
    file.add_acquisition(pynwb.image.ImageSeries(name="movie", timestamps=[0.0], unit="n.a.", **named))
    with NWBHDF5IO(old / "s.nwb", "w") as io:
        io.write(file)
    (old / "clip.avi").write_bytes(b"frames")
    repack(old / "s.nwb", old / "s.nwb.zarr", **QUIET)
    new.mkdir()
    for source, output in (("s.nwb", "s.nwb.zarr"), ("s.nwb.zarr", "s.nwb"), ("s.nwb.zarr", "t.nwb.zarr")):
        with pytest.raises(LinkError, match=r"clip\.avi, which is .* must be found"):
            repack(old / source, new / output, **QUIET)
    assert not os.listdir(new)


def test_parts_that_link_to_each_other_go_to_any_folder(tmp_path: Path) -> None:
    """Also where earlier ones are beside the source."""

    def make(file: h5py.File) -> None:
        one, _ = (series(file, name, owner="this") for name in ("one", "other"))
        one["timestamps"] = h5py.SoftLink("/acquisition/other/data")

    source = made(tmp_path / "s.h5", make)
    (tmp_path / "new").mkdir()
    for folder in (tmp_path, tmp_path / "new"):
        files = split(source, folder / "m.h5", **QUIET)
        with h5py.File(files[-1].path) as file:
            assert np.array_equal(file["acquisition/one/timestamps"], np.arange(N))
        merge(files[-1].path, folder / "out.h5", **QUIET)


def test_waste_of_several_files_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path / "raw.h5", raw)
    master = made(tmp_path / "m.h5", by_link)
    assert merge(master, dry_run=True).unused is None
    monkeypatch.setattr("sys.argv", ["parnwb", "merge", str(master), "--dry-run"])
    with suppress(SystemExit):
        main()
    assert "what of several files is not in use is not known" in " ".join("".join(capfd.readouterr()).split())
