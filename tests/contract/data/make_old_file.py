"""Writes ``pynwb-1.5.1.nwb`` with the pynwb of 2021, without specifications; ``gzip -9n`` makes it small.

Argument: the file. In an environment of its own, with Python 3.11:
pip install numpy==1.23.5 pandas==1.5.3 h5py==3.8.0 scipy==1.10.1 'ruamel.yaml<0.18' 'jsonschema<4' python-dateutil,
then pip install --no-deps pynwb==1.5.1 hdmf==2.5.6.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import h5py
import numpy as np
from hdmf.backends.hdf5.h5_utils import H5DataIO
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import Position, SpatialSeries
from pynwb.ecephys import LFP, ElectricalSeries
from pynwb.file import Subject
from pynwb.image import ImageSeries
from pynwb.ophys import OpticalChannel

SET = h5py.AttributeManager.__setitem__


def set_attribute(self: h5py.AttributeManager, name: str, value: object) -> None:
    """Set an attribute; lists of text as the h5py of 2021 took them."""
    is_text = isinstance(value, list) and bool(value) and isinstance(value[0], str)
    SET(self, name, np.array(value, dtype=h5py.string_dtype()) if is_text else value)


START = datetime(2021, 5, 6, 7, 8, 9, tzinfo=timezone.utc)


def session() -> NWBFile:
    """Return a file with electrodes, units, trials, an imaging plane, and links."""
    file = NWBFile("an old session", "old", START, file_create_date=START, experimenter=["A. Person"])
    file.subject = Subject(subject_id="m1", species="Mus musculus", age="P90D", sex="F")
    probe = file.create_device("probe")
    group = file.create_electrode_group("shank", "of the probe", "CA1", probe)
    for number in range(4):
        file.add_electrode(
            x=float(number), y=0.0, z=0.0, imp=np.nan, location="CA1", filtering="none", group=group
        )
    region = file.create_electrode_table_region([0, 1, 3], "three of them")
    values = (np.arange(900).reshape(300, 3) % 97).astype("i2")
    raw = ElectricalSeries("raw", H5DataIO(values, compression="gzip", chunks=(50, 3)), region, rate=3e4)
    file.add_acquisition(raw)
    lfp = file.create_processing_module("ecephys", "derived").add(LFP())
    lfp.add_electrical_series(
        ElectricalSeries("lfp", values[::3].astype("f4"), region, timestamps=np.arange(100) / 1e3)
    )
    file.add_unit_column("quality", "of the unit")
    for number in range(3):
        file.add_unit(spike_times=np.arange(5 + 40 * number) / 10, quality="good", electrodes=[number], id=number)
    file.add_trial_column("correct", "whether it was")
    for number in range(3):
        file.add_trial(start_time=float(number), stop_time=number + 0.5, correct=bool(number % 2), timeseries=[raw])
    camera = file.create_device("microscope")
    channel = OpticalChannel("green", "of the dye", 510.0)
    file.create_imaging_plane("plane", channel, "of cells", camera, 488.0, "GCaMP", "V1", 30.0)
    module = file.create_processing_module("behavior", "of the animal")
    module.add(Position(spatial_series=SpatialSeries("where", np.zeros((9, 2)), "the corner", rate=1.0)))
    file.add_acquisition(ImageSeries("film", external_file=["film.avi"], format="external", rate=30.0, unit="n.a."))
    file.add_acquisition(TimeSeries("same times", np.arange(100), "V", timestamps=lfp["lfp"]))
    file.add_scratch(np.arange(200), name="numbers", notes="for nothing")
    return file


if __name__ == "__main__":
    h5py.AttributeManager.__setitem__ = set_attribute
    with NWBHDF5IO(sys.argv[1], "w") as io:
        io.write(session(), cache_spec=False)
