"""From SpikeGLX to an NWBFile, with neuroconv's own result as oracle."""

from __future__ import annotations

import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from parnwb.errors import SourceError
from parnwb.recordings.interfaces import _how_to_install, build_nwbfile, open_interface, recognise
from parnwb.recordings.metadata import merge
from parnwb.sources import as_source
from parnwb.sources.binary import BinarySource

neuroconv = pytest.importorskip("neuroconv.converters", reason='needs the extra "convert"')

START = {"NWBFile": {"session_start_time": "2024-03-05T10:15:30+02:00"}}


def binary_of(run: Path) -> Path:
    return next(run.rglob("*.ap.bin"))


@pytest.fixture(autouse=True)
def _no_surprising_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*missing timezone.*")
        yield


class TestRecognise:
    """The table of our own."""

    def test_folders_and_files(self, spikeglx_run: Path) -> None:
        path = binary_of(spikeglx_run)
        for folder in (spikeglx_run, spikeglx_run.parent, path.parent):
            assert recognise(folder) == ("SpikeGLXConverterPipe", {"folder_path": str(folder)})
        options = {"folder_path": str(path.parent), "stream_id": "imec0.ap"}
        assert recognise(path) == ("SpikeGLXRecordingInterface", options)
        assert recognise(path.with_suffix(".meta")) == ("SpikeGLXRecordingInterface", options)

    def test_the_stream_of_a_renamed_file_comes_from_its_meta(self, small_run: Path) -> None:
        path = binary_of(small_run)
        path.rename(path.with_name("renamed.bin"))
        path.with_suffix(".meta").rename(path.with_name("renamed.meta"))
        assert recognise(path.with_name("renamed.bin"))[1]["stream_id"] == "imec0.ap"
        assert list(build_nwbfile(small_run, metadata=START).acquisition)

    def test_nidq(self, small_run: Path) -> None:
        path = binary_of(small_run)
        meta = path.with_suffix(".meta")
        keys = "niAiRangeMax=5\nniMNGain=200\nniMAGain=1\nniSampRate=30000\nsnsMnMaXaDw=384,0,1,0\n"
        meta.write_text(meta.read_text().replace("typeThis=imec", "typeThis=nidq") + keys)
        assert recognise(path)[0] == "SpikeGLXNIDQInterface"

    def test_others_are_sent_to_the_option(self, tmp_path: Path) -> None:
        (tmp_path / "data.rhd").touch()
        (tmp_path / "plain.bin").touch()
        for source in (tmp_path, tmp_path / "data.rhd", tmp_path / "plain.bin"):
            with pytest.raises(SourceError, match="--interface"):
                recognise(source)

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no such file or folder"):
            recognise(tmp_path / "none.ap.bin")


class TestOpen:
    """Names and options."""

    def test_options_are_read_by_the_signature(self, spikeglx_run: Path) -> None:
        pipe = open_interface(spikeglx_run, None, {"streams": "[imec0.ap]", "verbose": "false"})
        assert list(pipe.data_interface_objects) == ["imec0.ap"]
        assert pipe.verbose is False

    def test_the_stream_is_found_for_a_named_interface_too(self, spikeglx_run: Path) -> None:
        opened = open_interface(binary_of(spikeglx_run), "SpikeGLXRecordingInterface")
        assert opened.stream_id == "imec0.ap"

    def test_an_unknown_option_lists_the_known(self, spikeglx_run: Path) -> None:
        with pytest.raises(SourceError, match=r"no option 'strems'.*folder_path, streams, verbose"):
            open_interface(spikeglx_run, None, {"strems": "[imec0.ap]"})

    def test_a_missing_option_is_named(self, spikeglx_run: Path) -> None:
        with pytest.raises(SourceError, match=r"--option stream_id="):
            open_interface(spikeglx_run, "SpikeGLXRecordingInterface")

    def test_an_unknown_interface_suggests(self, spikeglx_run: Path) -> None:
        with pytest.raises(SourceError, match="Did you mean SpikeGLXRecordingInterface"):
            open_interface(spikeglx_run, "SpikeGLXRecordngInterface")

    def test_a_stream_that_is_not_there(self, spikeglx_run: Path) -> None:
        with pytest.raises(SourceError, match="SpikeGLXConverterPipe cannot open the source"):
            open_interface(spikeglx_run, None, {"streams": "[imec7.ap]"})

    def test_an_interface_that_does_not_fit(self, spikeglx_run: Path) -> None:
        with pytest.raises(SourceError, match="cannot open the source"):
            open_interface(spikeglx_run, "OpenEphysRecordingInterface")

    def test_without_neuroconv(self, spikeglx_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "neuroconv.datainterfaces", None)
        with pytest.raises(SourceError, match=re.escape('pip install "parnwb[convert]"')):
            open_interface(spikeglx_run)

    def test_a_python_for_which_there_is_no_neuroconv(self) -> None:
        assert "take Python 3.10 to 3.13" in _how_to_install((3, 14))
        assert "pip install" in _how_to_install((3, 13))


class TestDamaged:
    """neuroconv takes all of these without a word."""

    def test_truncated(self, small_run: Path) -> None:
        path = binary_of(small_run)
        os.truncate(path, path.stat().st_size - 7700)
        for source in (small_run, path):
            with pytest.raises(SourceError, match="truncated"):
                build_nwbfile(source, metadata=START)

    def test_missing_binary_of_one_of_two(self, small_run: Path) -> None:
        path = binary_of(small_run)
        shutil.copy(path.with_suffix(".meta"), path.with_name("demo_g0_t0.imec1.ap.meta"))
        with pytest.raises(SourceError, match=r"the \.bin is missing .*imec1"):
            build_nwbfile(small_run, metadata=START)
        path.unlink()
        with pytest.raises(SourceError, match="the .bin is missing"):
            build_nwbfile(path, metadata=START)

    def test_missing_meta(self, small_run: Path) -> None:
        binary_of(small_run).with_suffix(".meta").unlink()
        for source in (small_run, binary_of(small_run)):
            with pytest.raises(SourceError, match="needs its .meta"):
                build_nwbfile(source, metadata=START)

    def test_wrong_number_of_channels(self, small_run: Path) -> None:
        meta = binary_of(small_run).with_suffix(".meta")
        meta.write_text(meta.read_text().replace("nSavedChans=385", "nSavedChans=384"))
        with pytest.raises(SourceError, match="nSavedChans=384, snsApLfSy=384,0,1"):
            build_nwbfile(small_run, metadata=START)


    @pytest.mark.parametrize("key", [
        "fileCreateTime", "fileName", "imAiRangeMax", "imDatPrb_pn", "imSampRate", "nSavedChans", "snsSaveChanSubset",
        "~imroTbl", "~snsChanMap",
    ])  # fmt: skip
    def test_a_key_that_readers_need(self, small_run: Path, key: str) -> None:
        """They fail with a KeyError, or with an error of something else."""
        change_meta(small_run, key, None)
        said = rf"must have the keys that readers need: {key} not found .*imec0\.ap\.meta\]. Restore the .meta"
        for source in (small_run, binary_of(small_run)):
            with pytest.raises(SourceError, match=said):
                build_nwbfile(source, metadata=START)

    @pytest.mark.parametrize(("key", "value", "said"), [
        ("imAiRangeMax", "", "imAiRangeMax must be a number, got ''"),
        ("imSampRate", "fast", "imSampRate must be a number, got 'fast'"),
        ("~imroTbl", "0,384", r"~imroTbl must be a list in parentheses, got '0,384'"),
        ("nSavedChans", "many", "nSavedChans must be an integer, got 'many'"),
    ])  # fmt: skip
    def test_a_key_with_a_value_that_is_none(self, small_run: Path, key: str, value: str, said: str) -> None:
        change_meta(small_run, key, value)
        with pytest.raises(SourceError, match=said):
            build_nwbfile(small_run, metadata=START)

    def test_cut_at_a_whole_sample_where_no_size_is_told(self, small_run: Path) -> None:
        change_meta(small_run, "fileSizeBytes", None)
        assert build_nwbfile(small_run, metadata=START).acquisition  # whole, as its seconds tell
        path = binary_of(small_run)
        os.truncate(path, path.stat().st_size - 7700)
        with pytest.raises(SourceError, match="fileTimeSecs=0.021633 at 30000 Hz are 649 samples, the file has 639"):
            build_nwbfile(small_run, metadata=START)
        change_meta(small_run, "fileTimeSecs", "0.02")  # rounded: that may be 639
        assert build_nwbfile(small_run, metadata=START).acquisition
        change_meta(small_run, "fileTimeSecs", None)
        with pytest.warns(UserWarning, match="tells how long the recording is.*which has 639 samples"):
            build_nwbfile(small_run, metadata=START)


def change_meta(run: Path, key: str, value: str | None) -> None:
    """Give a key of a .meta another value, or take it away."""
    meta = binary_of(run).with_suffix(".meta")
    lines = [line for line in meta.read_text().splitlines() if not line.startswith(f"{key}=")]
    meta.write_text("\n".join([*lines, *([] if value is None else [f"{key}={value}"])]) + "\n")


class TestBuild:
    """The NWBFile."""

    def test_is_lazy_and_as_neuroconv_makes_it(self, spikeglx_run: Path) -> None:
        nwbfile = build_nwbfile(spikeglx_run, metadata=START)
        pipe = neuroconv.SpikeGLXConverterPipe(folder_path=spikeglx_run)
        expected = pipe.create_nwbfile(metadata=merge(pipe.get_metadata(), START))
        assert nwbfile.acquisition.keys() == expected.acquisition.keys()
        for name, series in nwbfile.acquisition.items():
            data = series.data
            assert type(data) is type(expected.acquisition[name].data)
            assert data.chunk_shape == expected.acquisition[name].data.chunk_shape
            assert isinstance(as_source(data), BinarySource)
        assert len(nwbfile.electrodes) == 384

    def test_quad_base(self, quad_base_run: Path) -> None:
        nwbfile = build_nwbfile(quad_base_run, metadata=START)
        shapes = {name: as_source(series.data).shape[1] for name, series in nwbfile.acquisition.items()}
        assert shapes == {"ElectricalSeriesAP": 1536, "TimeSeriesImec0Sync": 4}

    def test_metadata_is_merged_over_what_was_extracted(self, spikeglx_run: Path) -> None:
        metadata = {
            "NWBFile": {**START["NWBFile"], "session_description": "first day", "keywords": ["a", "b"]},
            "Subject": {"subject_id": "m1", "species": "Mus musculus", "sex": "F", "age": "P90D"},
            "Ecephys": {"ElectricalSeries": {"spikeglx_imec0_ap": {"description": "ours"}}},
        }
        kept = repr(metadata)
        nwbfile = build_nwbfile(spikeglx_run, metadata=metadata)
        assert nwbfile.session_description == "first day"
        assert list(nwbfile.keywords) == ["a", "b"]
        assert nwbfile.subject.subject_id == "m1"
        series = nwbfile.acquisition["ElectricalSeriesAP"]
        assert series.description == "ours"
        assert series.name == "ElectricalSeriesAP"
        assert repr(metadata) == kept, "the caller's metadata is not touched"

    def test_a_section_that_nothing_reads_is_told(self, spikeglx_run: Path) -> None:
        with pytest.warns(UserWarning, match="section 'Ecepyhs' of the metadata. Did you mean Ecephys"):
            build_nwbfile(spikeglx_run, metadata={**START, "Ecepyhs": {"ElectrodeGroups": {}}})
        slip = {"Ecephys": {"ElectricalSeries": {"spikeglx_imec0_app": {"description": "d"}}}}
        with pytest.warns(UserWarning, match="Ecephys.ElectricalSeries.spikeglx_imec0_app' .* mean spikeglx_imec0_ap"):
            build_nwbfile(spikeglx_run, metadata={**START, **slip})
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="nothing reads")
            known = {"Devices": {}, "Ecephys": {}, "Subject": {"subject_id": "m1"}}
            build_nwbfile(spikeglx_run, metadata={**START, **known})

    def test_a_naive_start_takes_the_zone_of_this_machine_and_says_so(self, spikeglx_run: Path) -> None:
        with pytest.warns(UserWarning, match="no time zone; this machine's is assumed"):
            nwbfile = build_nwbfile(spikeglx_run)
        assert nwbfile.session_start_time == datetime(2024, 3, 5, 10, 15, 30).astimezone()

    @pytest.mark.parametrize(
        ("text", "hours"), [("2024-03-05T10:15:30+02:00", 2), ("2024-03-05T10:15:30Z", 0)]
    )
    def test_a_start_with_a_zone_is_kept(self, spikeglx_run: Path, text: str, hours: int) -> None:
        nwbfile = build_nwbfile(spikeglx_run, metadata={"NWBFile": {"session_start_time": text}})
        assert nwbfile.session_start_time.utcoffset() == timedelta(hours=hours)

    def test_an_absent_start_is_asked_for(self, small_run: Path) -> None:
        meta = binary_of(small_run).with_suffix(".meta")
        text = re.sub("fileCreateTime=.*", "fileCreateTime=0000-00-00T00:00:00", meta.read_text())
        meta.write_text(text)  # what anonymised recordings have
        with pytest.raises(SourceError, match="--metadata"):
            build_nwbfile(small_run)
        assert build_nwbfile(small_run, metadata=START).session_start_time.hour == 10

    def test_a_start_that_is_no_time(self, spikeglx_run: Path) -> None:
        with pytest.raises(SourceError, match="ISO 8601"):
            build_nwbfile(spikeglx_run, metadata={"NWBFile": {"session_start_time": "yesterday"}})

    def test_metadata_that_neuroconv_refuses(self, spikeglx_run: Path) -> None:
        wrong = merge({"NWBFile": {"keywords": 3}}, START)
        with pytest.raises(SourceError, match="cannot be built"):
            build_nwbfile(spikeglx_run, metadata=wrong)
