"""Time series of all kinds, behaviour, and what is linked between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from contract.inputs import add, values
from pynwb import H5DataIO, NWBFile, TimeSeries
from pynwb.base import Images
from pynwb.behavior import (
    BehavioralEpochs,
    BehavioralEvents,
    BehavioralTimeSeries,
    CompassDirection,
    EyeTracking,
    Position,
    PupilTracking,
    SpatialSeries,
)
from pynwb.image import GrayscaleImage, ImageSeries, IndexSeries, OpticalSeries
from pynwb.misc import AbstractFeatureSeries, AnnotationSeries, DecompositionSeries, IntervalSeries


def series(file: NWBFile, inputs: Path) -> None:
    """Series that are no recording of any one modality."""
    first = add(file, "first", values((120, 3)), timestamps=values((120,), "f4"))
    add(file, "same_times", values((120,), "f4"), timestamps=first)
    add(file, "same_data", first, timestamps=list(range(120)))
    add(file, "listed", [1.5, 2.5, 3.5] * 30)
    add(file, "rows", [[1, 2], [3, 4], [5, 6]])
    add(file, "flags", values((90,)), control=H5DataIO(list(range(90)), chunks=(20,)), control_description=["a", "b"])
    features = AbstractFeatureSeries(
        name="features", features=["size", "colour"], feature_units=["m", "1"], data=values((60, 2), "f4"), rate=1.0
    )
    file.add_stimulus(features)
    words = AnnotationSeries(name="words", data=["é", "", "日本語" * 400] * 9, timestamps=values((27,), "f8"))
    file.add_acquisition(words)
    spans = IntervalSeries(name="spans", data=[1, -1, 2, -2] * 20, timestamps=np.arange(80.0))
    file.add_acquisition(spans)
    _bands(file, first)
    _pictured(file)


def _bands(file: NWBFile, source: TimeSeries) -> None:
    bands = DecompositionSeries(
        name="bands", data=values((120, 3, 2), "f8"), metric="power", source_timeseries=source, rate=30.0
    )
    for name, limits in (("theta", (4.0, 8.0)), ("gamma", (30.0, 80.0))):
        bands.add_band(band_name=name, band_limits=limits, band_mean=sum(limits) / 2, band_stdev=1.0)
    file.create_processing_module("decomposed", "bands").add(bands)


def _pictured(file: NWBFile) -> None:
    frames = ImageSeries(name="frames", data=values((12, 9, 7), "u1"), unit="n.a.", rate=1.0, format="raw")
    file.add_acquisition(frames)
    seen = OpticalSeries(
        name="seen",
        data=values((12, 9, 7, 3), "f4"),
        unit="n.a.",
        distance=1.5,
        field_of_view=[1.0, 2.0],
        orientation="up",
        timestamps=frames_times(),
        dimension=[9, 7],
    )
    file.add_stimulus(seen)
    pictures = Images(name="pictures", images=[GrayscaleImage(name="grey", data=values((30, 20), "f4"))])
    file.add_acquisition(pictures)
    shown = IndexSeries(name="shown", data=list(range(40)), unit="N/A", indexed_images=pictures, rate=1.0)
    file.add_stimulus(shown)


def frames_times() -> np.ndarray:
    """Return times of a dozen frames."""
    return np.arange(12.0) / 7


def behavior(file: NWBFile, inputs: Path) -> None:
    """All interfaces of behaviour; one series is in two of them."""
    module = file.create_processing_module("behavior", "what it did")
    paths = [
        SpatialSeries(name=f"path_{n}", data=values((80, n), "f8"), reference_frame="maze", rate=30.0)
        for n in (1, 2, 3)
    ]
    shared = TimeSeries(name="speed", data=values((80,), "f4"), unit="m/s", timestamps=values((80,), "f8"))
    module.add(Position(spatial_series=paths[:2]))
    module.add(CompassDirection(spatial_series=paths[2]))
    module.add(BehavioralTimeSeries(name="speeds", time_series=shared))
    module.add(BehavioralEvents(time_series=TimeSeries(name="licks", data=[1.0] * 50, unit="n", timestamps=shared)))
    module.add(PupilTracking(time_series=TimeSeries(name="pupil", data=values((80, 2)), unit="mm", rate=9.0)))
    gaze = SpatialSeries(name="gaze", data=values((80, 2)), reference_frame="screen", timestamps=shared)
    module.add(EyeTracking(spatial_series=gaze))
    spans = IntervalSeries(name="runs", data=[1, -1] * 20, timestamps=np.arange(40.0))
    module.add(BehavioralEpochs(interval_series=spans))
