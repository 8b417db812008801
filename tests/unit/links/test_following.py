"""Links of finished files, each of which is wrong in another way, and values in other files."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from parnwb.hyperslab import Hyperslab
from parnwb.index import missing_chunks
from parnwb.links.following import (
    Followed,
    files_behind,
    missing_movies,
    movies_named,
    parts_of,
    stored_bytes,
    stored_elsewhere,
)
from parnwb.links.tiles import sources_of
from parnwb.verification import verify

VALUES = np.arange(24, dtype="i2").reshape(6, 4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is not the working folder, with a file that can be linked to."""
    folder = tmp_path / "there"
    folder.mkdir()
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = VALUES
        other["group/inner"] = VALUES
        other["round"] = h5py.ExternalLink("out.h5", "/round")
        other.create_dataset("lacking", (6, 4), "i2", chunks=(2, 4))
    monkeypatch.chdir(tmp_path)
    return folder


def said(path: Path) -> list[str]:
    return [str(finding) for finding in verify(path, validate=False).findings]


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (h5py.ExternalLink("other.h5", "/x"), None),
        (h5py.ExternalLink("other.h5", "/group"), None),
        (h5py.ExternalLink("nowhere.h5", "/x"), "there is no such file"),
        (h5py.ExternalLink("other.h5", "/y"), "which holds no such thing"),
        (h5py.ExternalLink("out.h5", "/link"), "which is this file"),
        (h5py.ExternalLink("other.h5", "/round"), "no such thing|cannot be opened"),
        (h5py.ExternalLink("beside.h5", "/x"), "found from the working folder only"),
        (h5py.ExternalLink("broken.h5", "/x"), "cannot be opened"),
        (h5py.SoftLink("/nothing"), "a place in this file that is empty"),
        (h5py.ExternalLink("other.h5", "/lacking"), "3 of 3 chunks were never written"),
    ],
)
def test_links(folder: Path, link: object, words: str | None) -> None:
    (folder.parent / "beside.h5").write_bytes((folder / "other.h5").read_bytes())
    (folder / "broken.h5").write_text("no HDF5")
    with h5py.File(folder / "out.h5", "w") as file:
        file["own"] = VALUES
        file["link"] = link
    findings = said(folder / "out.h5")
    if words is None:
        assert not findings
        assert verify(folder / "out.h5", validate=False).datasets == 2
    else:
        import re

        assert len(findings) == 1 and re.search(words, findings[0]) and findings[0].startswith("/link")


def test_damage_behind_a_link_is_found(folder: Path) -> None:
    with h5py.File(folder / "other.h5", "r+") as other:
        packed = other.create_dataset("packed", data=np.arange(4000), chunks=(1000,), compression="gzip")
        info = packed.id.get_chunk_info(2)
    with open(folder / "other.h5", "r+b") as raw:
        raw.seek(info.byte_offset)
        raw.write(b"\xff" * info.size)
    with h5py.File(folder / "out.h5", "w") as file:
        file["link"] = h5py.ExternalLink("other.h5", "/packed")
    (finding,) = verify(folder / "out.h5", validate=False).findings
    assert finding.path == "/link" and "cannot be read" in finding.what


@pytest.mark.parametrize(
    ("name", "nbytes", "words"),
    [
        ("raw.bin", 48, "HDF5_EXTFILE_PREFIX"),
        ("{folder}/raw.bin", 48, None),
        ("{folder}/gone.bin", 48, "there is no such file"),
        ("{folder}/short.bin", 48, "which has 10 bytes of 48"),
    ],
)
def test_external_storage(folder: Path, name: str, nbytes: int, words: str | None) -> None:
    VALUES.tofile(folder / "raw.bin")
    (folder / "short.bin").write_bytes(b"0123456789")
    with h5py.File(folder / "out.h5", "w") as file:
        file.create_dataset("x", VALUES.shape, "i2", external=[(name.format(folder=folder), 0, nbytes)])
    findings = said(folder / "out.h5")
    assert (not findings) if words is None else (len(findings) == 1 and words in findings[0])


def test_parts_of_virtual_datasets(folder: Path) -> None:
    layout = h5py.VirtualLayout((2, 6, 4), "i2")
    layout[0] = h5py.VirtualSource("other.h5", "x", (6, 4))
    layout[1] = h5py.VirtualSource("gone.h5", "x", (6, 4))
    with h5py.File(folder / "out.h5", "w") as file:
        file.create_virtual_dataset("both", layout)
        assert not file["both"][1].any()  # HDF5 says nothing
    (finding,) = said(folder / "out.h5")
    assert "a part of it is in gone.h5" in finding and "fill values" in finding


def spread(folder: Path, name: str = "other.h5", count: int = 4) -> str:
    """Make a dataset of two parts with four chunks each, of which the second has some; return its file."""
    layout = h5py.VirtualLayout((4, 4), "i2")
    for number, part in enumerate(("first.h5", name)):
        with h5py.File(folder / part, "w") as file:
            made = file.create_dataset("50% x", (4, 4), "i2", chunks=(1, 2))
            if number == 0:
                made[:2] = 1
            for chunk in range(count if number else 0):
                made[2 + chunk // 2, chunk % 2 * 2 : chunk % 2 * 2 + 2] = 1
        source = h5py.VirtualSource(part.replace("%", "%%"), "50%% x", (4, 4))
        layout[2 * number : 2 * number + 2] = source[2 * number : 2 * number + 2]
    with h5py.File(folder / "out.h5", "w") as file:
        file.create_virtual_dataset("both", layout)
    return name


@pytest.mark.parametrize("name", ["other.h5", "100% other.h5"])
def test_parts_that_are_whole(folder: Path, name: str) -> None:
    spread(folder, name)
    with h5py.File(folder / "out.h5") as file:
        assert (file["both"][()] == 1).all()
        assert not stored_elsewhere(file["both"]) and not missing_chunks(file["both"])
        assert sources_of(file["both"]) == {"first.h5": {"50% x"}, name: {"50% x"}}
    assert parts_of(folder / "out.h5") == (folder / "first.h5", folder / name)


def test_a_part_that_has_lost_its_end(folder: Path) -> None:
    part = folder / spread(folder)
    part.write_bytes(part.read_bytes()[:-1])
    (finding,) = said(folder / "out.h5")
    assert "a part of it is in other.h5, which cannot be opened (" in finding and "truncated" in finding


def test_a_part_that_is_another_file(folder: Path) -> None:
    with h5py.File(folder / spread(folder), "w") as file:
        file["y"] = 1
    (finding,) = said(folder / "out.h5")
    assert "which has no 50% x" in finding


@pytest.mark.parametrize("count", [0, 3])
def test_a_part_without_some_of_its_chunks(folder: Path, count: int) -> None:
    spread(folder, count=count)
    with h5py.File(folder / "out.h5") as file:
        (finding,) = missing_chunks(file["both"])
    assert finding.what == f"{4 - count} of 4 chunks of its part in other.h5 were never written"
    assert finding.slab == Hyperslab((3, 2) if count else (2, 0), (1, 2))


def test_no_parts_of_what_is_no_file(folder: Path) -> None:
    (folder / "out.nwb.partial").write_bytes(b"some token")
    assert parts_of(folder / "out.nwb.partial") == parts_of(folder / "gone.nwb") == ()


@pytest.mark.parametrize("lacking", [0, 1])
def test_through_a_symlink(folder: Path, lacking: int) -> None:
    """HDF5 finds other files beside the real one, if there are none beside the link."""
    spread(folder, count=4 - lacking)
    with h5py.File(folder / "first.h5", "r+") as file:
        file["x"] = VALUES
    with h5py.File(folder / "out.h5", "r+") as file:
        file["link"] = h5py.ExternalLink("first.h5", "/x")
    link = folder.parent / "linked" / "here.h5"
    link.parent.mkdir()
    link.symlink_to(folder / "out.h5")
    with h5py.File(link) as file:
        assert (file["both"][:3] == 1).all()
        stored = stored_bytes(file["both"])
    findings = said(link)
    assert len(findings) == lacking and all("1 of 4 chunks of its part in other.h5" in each for each in findings)
    assert parts_of(link) == (folder / "first.h5", folder / "other.h5")
    with h5py.File(folder / "out.h5") as file:
        assert stored == stored_bytes(file["both"]) > 0


def test_what_is_beside_a_symlink_comes_first(folder: Path) -> None:
    spread(folder)
    link = folder.parent / "linked" / "here.h5"
    link.parent.mkdir()
    link.symlink_to(folder / "out.h5")
    with h5py.File(link.parent / "other.h5", "w") as file:
        file.create_dataset("50% x", data=np.full((4, 4), 7, "i2"))
    with h5py.File(link) as file:
        assert (file["both"][2:] == 7).all()
    assert parts_of(link) == (folder / "first.h5", link.parent / "other.h5")


def test_movies(folder: Path) -> None:
    with h5py.File(folder / "out.h5", "w") as file:
        file["series/external_file"] = ["here.avi", "https://example.org/there.avi", "gone.avi"]
    (folder / "here.avi").write_text("a movie")
    (folder.parent / "gone.avi").write_text("seen from the working folder only")
    (finding,) = said(folder / "out.h5")
    assert "names gone.avi" in finding


# -- what is behind what is linked to ----------------------------------------------------------------------------


def chain(folder: Path, **inner: object) -> Path:
    """Make a file with a link to a series of ``part.h5``, which has data, ``inner`` and what lies beside it."""
    with h5py.File(folder / "part.h5", "w") as part:
        part["series/own"] = VALUES
        part["beside"] = VALUES
        for name, thing in inner.items():
            part[f"series/{name}"] = thing
    with h5py.File(folder / "out.h5", "w") as file:
        file["series"] = h5py.ExternalLink("part.h5", "/series")
    return folder / "out.h5"


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (h5py.ExternalLink("gone.h5", "/x"), "links to gone.h5:/x, and there is no such file"),
        (h5py.ExternalLink("other.h5", "/y"), "links to other.h5:/y, which holds no such thing"),
        (h5py.ExternalLink("other.h5", "/lacking"), "3 of 3 chunks were never written"),
        (h5py.ExternalLink("out.h5", "/series"), "which is this file"),
        (h5py.SoftLink("/nowhere"), "is a link to a place in part.h5 that is empty"),
    ],
)
def test_what_is_wrong_behind_a_link(folder: Path, inner: object, words: str) -> None:
    (finding,) = verify(chain(folder, inner=inner), validate=False).findings
    assert finding.path == "/series/inner" and words in finding.what


@pytest.mark.parametrize("inner", [h5py.ExternalLink("other.h5", "/x"), h5py.SoftLink("/beside")])
def test_what_is_good_behind_a_link_is_read(folder: Path, inner: object) -> None:
    verdict = verify(chain(folder, inner=inner), validate=False)
    assert verdict.ok and verdict.nbytes == 2 * VALUES.nbytes


def test_damage_behind_two_links_is_found(folder: Path) -> None:
    with h5py.File(folder / "other.h5", "r+") as other:
        info = other.create_dataset("packed", data=VALUES, chunks=(2, 4), compression="gzip").id.get_chunk_info(1)
    with open(folder / "other.h5", "r+b") as raw:
        raw.seek(info.byte_offset)
        raw.write(b"\xff" * info.size)
    (finding,) = verify(chain(folder, inner=h5py.ExternalLink("other.h5", "/packed")), validate=False).findings
    assert finding.path == "/series/inner" and "cannot be read" in finding.what


def test_movies_of_a_linked_series_are_beside_its_file(folder: Path) -> None:
    """In another folder than the file with the link."""
    part = folder / "deeper"
    part.mkdir()
    with h5py.File(part / "part.h5", "w") as file:
        file["series/external_file"] = ["here.avi", "gone.avi"]
    (part / "here.avi").write_text("a movie")
    (folder / "gone.avi").write_text("beside the file with the link")
    with h5py.File(folder / "out.h5", "w") as file:
        file["series"] = h5py.ExternalLink("deeper/part.h5", "/series")
    (finding,) = verify(folder / "out.h5", validate=False).findings
    assert finding.path == "/series/external_file" and finding.what.startswith("names gone.avi")


def test_circles_of_files_end(folder: Path) -> None:
    """Two series that link to each other, and to what is above them; each dataset is read once."""
    for own, another in (("part.h5", "further.h5"), ("further.h5", "part.h5")):
        with h5py.File(folder / own, "w") as file:
            file["series/own"] = VALUES
            file["series/another"] = h5py.ExternalLink(another, "/series")
            file["series/above"] = h5py.ExternalLink(another, "/")
            file["series/again"] = h5py.SoftLink("/series")
    with h5py.File(folder / "out.h5", "w") as file:
        file["series"] = h5py.ExternalLink("part.h5", "/series")
    verdict = verify(folder / "out.h5", validate=False)
    assert verdict.ok and verdict.datasets == 2


def test_files_are_not_kept_open(folder: Path) -> None:
    """A file may link to more files than a process may have open."""
    with h5py.File(folder / "out.h5", "w") as file:
        for number in range(20):
            with h5py.File(folder / f"part{number}.h5", "w") as part:
                part["series/own"] = VALUES
            file[f"series{number}"] = h5py.ExternalLink(f"part{number}.h5", "/series")
    before = len(os.listdir("/proc/self/fd"))
    with h5py.File(folder / "out.h5") as file:
        most = max(len(os.listdir("/proc/self/fd")) for _ in Followed(file, folder / "out.h5").datasets())
    assert most <= before + 4


def test_files_behind_go_on_and_end(folder: Path) -> None:
    with h5py.File(folder / "out.h5", "w") as file:
        file["a"], file["b"] = h5py.ExternalLink("other.h5", "/x"), h5py.ExternalLink("gone.h5", "/x")
    assert list(files_behind(str(folder / "out.h5"))) == [str(folder / name) for name in ("other.h5", "gone.h5")]
    assert str(folder / "other.h5") not in list(files_behind(str(folder / "other.h5")))


def test_numbers_under_the_name_of_movies_name_none(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["external_file"] = np.arange(3)
        file["of/external_file"] = ["a.avi", "https://b.avi"]
        assert movies_named("/external_file", file["external_file"]) == []
        assert movies_named("/of/external_file", file["of/external_file"]) == ["a.avi"]
        assert not missing_movies("/external_file", file["external_file"])
        assert len(missing_movies("/of/external_file", file["of/external_file"])) == 1
