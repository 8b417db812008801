"""Metadata in YAML, how they are merged, and what is told of them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from parnwb.errors import SourceError
from parnwb.recordings.metadata import load_metadata, merge, warn_of_unknown_parts, warn_of_unknown_sections


class TestMetadata:
    """The file of --metadata, and how it is merged."""

    def test_times_stay_text(self, tmp_path: Path) -> None:
        path = tmp_path / "session.yaml"
        path.write_text("NWBFile:\n  session_start_time: 2024-03-05T10:15:30+02:00\n  keywords: [a, b]\n")
        assert load_metadata(path) == {
            "NWBFile": {"session_start_time": "2024-03-05T10:15:30+02:00", "keywords": ["a", "b"]}
        }

    @pytest.mark.parametrize("text", ["- a\n- b\n", "text", "", "a: [1", "a: !!python/object:os.system {}"])
    def test_other_files_are_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "session.yaml"
        path.write_text(text)
        with pytest.raises(SourceError, match="metadata must be"):
            load_metadata(path)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="metadata must be a readable"):
            load_metadata(tmp_path / "none.yaml")

    def test_merge(self) -> None:
        base = {"a": {"b": 1, "c": 2}, "list": [1, 2], "named": [{"name": "x", "v": 1}, {"name": "y"}]}
        over = {"a": {"c": 3}, "list": [9], "named": [{"name": "x", "w": 2}, {"name": "z"}], "new": {"k": 1}}
        assert merge(base, over) == {
            "a": {"b": 1, "c": 3},
            "list": [9],
            "named": [{"name": "x", "v": 1, "w": 2}, {"name": "y"}, {"name": "z"}],
            "new": {"k": 1},
        }

    def test_unknown_sections_are_told_with_what_is_near(self) -> None:
        with pytest.warns(UserWarning, match="section 'NWBfile' of the metadata. Did you mean NWBFile"):
            warn_of_unknown_sections({"NWBfile": {}, "Subject": {}}, {"NWBFile", "Subject"})
        with pytest.warns(UserWarning, match="section 'xyz' of the metadata. Known are NWBFile, Subject"):
            warn_of_unknown_sections({"xyz": {}}, {"Subject", "NWBFile"})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_of_unknown_sections({"NWBFile": {}}, {"NWBFile"})

    NAMES = {"ElectricalSeries": {"additionalProperties": {}}, "Electrodes": {}}
    SCHEMA = {"properties": {"Ecephys": {"properties": NAMES, "additionalProperties": False}}}
    EXTRACTED = {"Ecephys": {"ElectricalSeries": {"imec0_ap": {"name": "AP"}}, "Electrodes": []}}

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"ElectricalSerie": {}}, "nothing reads 'Ecephys.ElectricalSerie' .*Did you mean ElectricalSeries"),
            ({"xyz": {}}, "nothing reads 'Ecephys.xyz' of the metadata. Known are ElectricalSeries, Electrodes"),
            ({"ElectricalSeries": {"imec0_app": {}}}, "'Ecephys.ElectricalSeries.imec0_app'.*Did you mean imec0_ap"),
            ({"ElectricalSeries": {"imec0_ap": {"nam": 1}}}, "'Ecephys.ElectricalSeries.imec0_ap.nam'.*mean name"),
        ],
    )
    def test_so_are_unknown_parts_of_sections(self, given: dict[str, Any], said: str) -> None:
        with pytest.warns(UserWarning, match=said):
            warn_of_unknown_parts({"Ecephys": given}, self.SCHEMA, self.EXTRACTED, {})

    def test_what_may_be_read_is_not(self) -> None:
        series = {"imec0_ap": {"description": "d"}, "another": {}, "imec0_lf": {}}
        given = {"NWBFile": {"x": 1}, "Ecephys": {"ElectricalSeries": series, "Electrodes": [{"of": "imec0_lf"}]}}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_of_unknown_parts(given, self.SCHEMA, self.EXTRACTED, {})
            named = {"Ecephys": {"ElectricalSeries": {"imec0_app": {}}}}
            warn_of_unknown_parts(named, self.SCHEMA, self.EXTRACTED, {"es_key": "imec0_app"})
