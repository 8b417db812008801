"""A program that was written for ``NWBHDF5IO`` is taken as it is, or told what to do instead."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from inspect import signature
from pathlib import Path
from typing import Any

import pynwb
import pytest
from pynwb import NWBFile
from pynwb.resources import HERD

from parnwb import NWBParallelIO
from parnwb.errors import ParnwbError, TargetError
from parnwb.pynwb_keywords import REFUSED, TAKEN

THERE = {item["name"]: item.get("default") for item in pynwb.NWBHDF5IO.__init__.__docval__["args"]}


def test_every_keyword_of_pynwb_is_known() -> None:
    """With a new release of pynwb there may be more."""
    assert set(THERE) - set(signature(NWBParallelIO).parameters) == {"load_namespaces", *TAKEN, *REFUSED}


def test_all_of_them_with_their_defaults_are_taken(tmp_path: Path) -> None:
    given = {name: value for name, value in THERE.items() if name not in ("path", "mode")}
    with NWBParallelIO(tmp_path / "out.nwb", "w", **given) as io:
        io.write(NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=timezone.utc)))
    with pynwb.NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        assert io.read().identifier == "id"


@pytest.mark.parametrize(
    ("given", "mode", "words"),
    [
        ({"file": object()}, "w", "file is not for files that many ranks write.*Give its path"),
        ({"driver": "ros3"}, "w", "driver is not .*'ros3'.*NWBHDF5IO reads what is elsewhere"),
        ({"aws_region": "us-east-1"}, "w", "aws_region is not "),
        ({"herd_path": "herd.zip"}, "resume", "modes w, w-, x, got 'resume'.*object ids.*get_external_resources"),
        ({"herd_path": "herd.zip"}, "a", "got 'a': it belongs to a new file"),
        ({"herd_path": 3}, "w", "path of a zip file, got 3"),
        ({"herd_path": "/no/such/folder/herd.zip"}, "w", "folder of herd_path does not exist.*/no/such/folder"),
        ({"load_namespaces": False}, "r+", "always loaded, got load_namespaces=False"),
    ],
)
def test_what_would_mean_something_is_refused(given: dict[str, Any], mode: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ParnwbError, match=words):
        NWBParallelIO(tmp_path / "out.nwb", mode, **given)
    assert os.listdir(tmp_path) == []


def test_a_herd_is_left_when_the_file_has_its_name(tmp_path: Path) -> None:
    """Terms of ``herd`` and, where none is given, an empty one, as with hdmf; hdmf reads it from any folder."""
    place = tmp_path / "terms.zip"
    for herd, keys in ((HERD(), ["CA1"]), (None, [])):
        nwbfile = NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=timezone.utc))
        device = nwbfile.create_device("one", description="CA1")
        if herd is not None:
            herd.add_ref(container=device, attribute="description", key="CA1", entity_id="a:1", entity_uri="https://a")
        with NWBParallelIO(tmp_path / "out.nwb", "w", herd_path=str(place), overwrite=True, progress=False) as io:
            io.write(nwbfile, herd=herd)
            assert not (tmp_path / "out.nwb").exists() or herd is None
            assert not place.exists() or herd is None
        assert list(HERD.from_zip(path=str(place)).keys["key"]) == keys
    assert sorted(os.listdir(tmp_path)) == ["out.nwb", "terms.zip"]


def test_a_herd_that_exists_is_not_replaced_unasked(tmp_path: Path) -> None:
    place = tmp_path / "terms.zip"
    place.write_text("precious")
    with pytest.raises(TargetError, match="herd_path exists.*overwrite=True"):
        NWBParallelIO(tmp_path / "out.nwb", "w", herd_path=place)
    assert os.listdir(tmp_path) == ["terms.zip"]


def test_a_job_that_fails_leaves_no_herd(tmp_path: Path) -> None:
    with pytest.raises(ParnwbError, match="herd must be a HERD.*got str"):
        with NWBParallelIO(tmp_path / "out.nwb", "w", herd_path=tmp_path / "terms.zip", progress=False) as io:
            io.write(NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=timezone.utc)), herd="terms")
    with pytest.raises(ZeroDivisionError):
        with NWBParallelIO(tmp_path / "out.nwb", "w", herd_path=tmp_path / "terms.zip", progress=False) as io:
            io.write(NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=timezone.utc)))
            raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_what_nobody_knows_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no keyword 'compresion', nor has NWBHDF5IO"):
        NWBParallelIO(tmp_path / "out.nwb", "w", compresion="auto")
