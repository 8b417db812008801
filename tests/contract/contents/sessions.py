"""Whole sessions: tables, references, links, images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from contract.inputs import add, values
from hdmf.common import DynamicTable
from pynwb import H5DataIO, NWBFile
from pynwb.base import Images
from pynwb.behavior import BehavioralTimeSeries
from pynwb.ecephys import LFP, ElectricalSeries
from pynwb.file import Subject
from pynwb.image import GrayscaleImage, ImageSeries
from pynwb.ophys import ImageSegmentation, OpticalChannel, PlaneSegmentation


def linked_series(file: NWBFile, inputs: Path) -> None:
    """Series that share timestamps or data, and one object in two places."""
    first = add(file, "first", values((300, 2)), timestamps=values((300,), "f8"))
    add(file, "shares_timestamps", values((300,), "f4"), timestamps=first)
    add(file, "shares_data", first, timestamps=values((300,), "f8"))
    same = values((100, 3))
    add(file, "same_array_1", same)
    add(file, "same_array_2", same)
    module = file.create_processing_module("behavior", "positions")
    module.add(BehavioralTimeSeries(name="again", time_series=first))
    add(file, "Ωmega µV", values((50,)))


def images(file: NWBFile, inputs: Path) -> None:
    """Image series with data and with files, and single images."""
    frames = values((12, 9, 7), "u1")
    file.add_acquisition(ImageSeries(name="grey", data=frames, unit="n.a.", rate=1.0))
    packed = H5DataIO(values((12, 9, 7, 3), "u1"), chunks=(5, 9, 7, 3), compression="gzip")
    file.add_acquisition(ImageSeries(name="colour", data=packed, unit="n.a.", rate=1.0))
    movie = {"external_file": ["https://example.org/movie.avi"], "format": "external", "starting_frame": [0]}
    file.add_stimulus(ImageSeries(name="elsewhere", unit="n.a.", rate=1.0, num_samples=9, **movie))
    _add_segmentation(file)
    picture = GrayscaleImage(name="picture", data=values((30, 20), "f4"))
    file.add_acquisition(Images(name="pictures", images=[picture]))


def _add_segmentation(file: NWBFile) -> None:
    """Regions as images and as compound values of pixels."""
    device = file.create_device(name="microscope")
    channel = OpticalChannel(name="green", description="GCaMP", emission_lambda=520.0)
    plane = file.create_imaging_plane(
        name="plane", description="a plane", device=device, optical_channel=channel,
        excitation_lambda=920.0, indicator="GCaMP6f", location="V1",
    )
    segmentation = PlaneSegmentation(name="cells", description="regions", imaging_plane=plane)
    for number in range(6):
        pixels = [(x, number, 0.5) for x in range(number + 1)]
        segmentation.add_roi(image_mask=values((9, 7), "f4"), pixel_mask=pixels)
    module = file.create_processing_module("ophys", "regions")
    module.add(ImageSegmentation(plane_segmentations=[segmentation]))


def session(file: NWBFile, inputs: Path) -> None:
    """Most of what an electrophysiology session has: references, ragged columns, text, links."""
    file.subject = Subject(subject_id="m1", species="Mus musculus", age="P30D", sex="M")
    file.keywords = ["contract", "naïve"]
    device = file.create_device(name="probe")
    group = file.create_electrode_group(name="shank", description="one", location="CA1", device=device)
    file.add_electrode_column(name="label", description="a name")
    for number in range(12):
        file.add_electrode(group=group, location="CA1", label=f"é{number}", x=1.0 * number, y=2.0, z=0.0)
    region = file.create_electrode_table_region(list(range(8)), "the first eight")
    raw = H5DataIO(values((900, 8)), compression="gzip", shuffle=True, chunks=(100, 8))
    file.add_acquisition(ElectricalSeries(name="raw", data=raw, electrodes=region, rate=3e4, conversion=1e-6))
    filtered = ElectricalSeries(name="lfp", data=values((90, 8), "f4"), electrodes=region, rate=1000.0)
    file.create_processing_module("ecephys", "filtered").add(LFP(electrical_series=filtered))
    _add_units(file)
    file.add_trial_column(name="outcome", description="text")
    for number in range(5):
        span = {"start_time": 1.0 * number, "stop_time": number + 0.5}
        file.add_trial(**span, outcome="né" * number, timeseries=[file.acquisition["raw"]])
    file.add_epoch(start_time=0.0, stop_time=2.0, tags=["a", "b"])
    tables(file, inputs)


def tables(file: NWBFile, inputs: Path) -> None:
    """Columns of text, of numbers and of lists, which hdmf makes growing or not."""
    table = DynamicTable(name="mixed", description="columns of all kinds", id=list(range(60)))
    table.add_column(name="text", description="words", data=[f"w{n}" for n in range(60)])
    table.add_column(name="numbers", description="2-d", data=values((60, 4), "f8"))
    index = np.arange(1, 61) + 30
    table.add_column(name="ragged", description="lists", data=values((90,), "i4"), index=index)
    file.add_scratch(table)


def _add_units(file: NWBFile) -> None:
    file.add_unit_column(name="quality", description="text")
    for number in range(15):
        file.add_unit(
            spike_times=np.sort(values((11 * number + 1,), "f8")),
            electrodes=[number % 12, (number + 1) % 12],
            waveform_mean=values((20, 2), "f4"),
            quality="good" if number % 2 else "noise",
        )


