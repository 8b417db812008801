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

from parnwb import NWBParallelIO
from parnwb.errors import ParnwbError
from parnwb.pynwb_keywords import REFUSED

THERE = {item["name"]: item.get("default") for item in pynwb.NWBHDF5IO.__init__.__docval__["args"]}


def test_every_keyword_of_pynwb_is_known() -> None:
    """With a new release of pynwb there may be more."""
    assert set(THERE) - set(signature(NWBParallelIO).parameters) == {"load_namespaces", *REFUSED}


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
        ({"herd_path": "herd.zip"}, "w", r"write\(nwbfile, herd="),
        ({"load_namespaces": False}, "r+", "always loaded, got load_namespaces=False"),
    ],
)
def test_what_would_mean_something_is_refused(given: dict[str, Any], mode: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ParnwbError, match=words):
        NWBParallelIO(tmp_path / "out.nwb", mode, **given)
    assert os.listdir(tmp_path) == []


def test_what_nobody_knows_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no keyword 'compresion', nor has NWBHDF5IO"):
        NWBParallelIO(tmp_path / "out.nwb", "w", compresion="auto")
