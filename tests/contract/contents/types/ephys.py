"""Electrophysiology outside and inside of cells, and optogenetics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from contract.inputs import values
from hdmf.common import DynamicTableRegion
from pynwb import H5DataIO, NWBFile, TimeSeries
from pynwb.ecephys import (
    LFP,
    ElectricalSeries,
    EventDetection,
    FeatureExtraction,
    FilteredEphys,
    SpikeEventSeries,
)
from pynwb.icephys import (
    CurrentClampSeries,
    CurrentClampStimulusSeries,
    IZeroClampSeries,
    PatchClampSeries,
    VoltageClampSeries,
    VoltageClampStimulusSeries,
)
from pynwb.misc import Units
from pynwb.ogen import OptogeneticSeries, OptogeneticStimulusSite


def ecephys(file: NWBFile, inputs: Path) -> None:
    """Recordings, what is found in them, and units with all ragged columns there are."""
    region = _electrodes(file)
    gzip = {"compression": "gzip", "shuffle": True, "chunks": (30, 4)}
    raw = ElectricalSeries(name="raw", data=H5DataIO(values((200, 8)), **gzip), electrodes=region, rate=3e4)
    file.add_acquisition(raw)
    module = file.create_processing_module("ecephys", "processed")
    spared = {"electrodes": region, "filtering": "300 Hz", "channel_conversion": [1e-6] * 8}
    lfp = ElectricalSeries(name="lfp", data=values((100, 8), "f4"), timestamps=values((100,), "f8"), **spared)
    module.add(LFP(electrical_series=lfp))
    module.add(
        FilteredEphys(electrical_series=ElectricalSeries(name="f", data=values((40, 8)), timestamps=lfp, **spared))
    )
    _found_events(module, raw, region)
    _units(file)


def _electrodes(file: NWBFile) -> DynamicTableRegion:
    model = file.create_device_model(name="model", manufacturer="somebody", model_number="1", description="a model")
    device = file.create_device(name="probe", description="a probe", model=model)
    group = file.create_electrode_group(
        name="shank", description="one", location="CA1", device=device, position=(1, 2, 3)
    )
    file.add_electrode_column(name="label", description="text")
    file.add_electrode_column(name="good", description="booleans")
    for number in range(12):
        file.add_electrode(group=group, location="CA1", label=f"é{number}", good=number % 3 == 0, x=1.0 * number)
    return file.create_electrode_table_region(list(range(8)), "the first eight")


def _found_events(module: Any, raw: ElectricalSeries, region: DynamicTableRegion) -> None:
    times = np.sort(values((30,), "f8"))
    module.add(
        FeatureExtraction(electrodes=region, description=["peak"] * 4, times=times, features=values((30, 8, 4), "f4"))
    )
    found = {"detection_method": "a threshold", "source_electricalseries": raw, "times": times}
    module.add(EventDetection(source_idx=list(range(30)), **found))
    module.add(EventDetection(name="by_channel", source_idx=np.stack([np.arange(30), np.arange(30) % 8], 1), **found))
    module.add(SpikeEventSeries(name="spikes", data=values((30, 8, 12)), timestamps=times, electrodes=region))


def _units(file: NWBFile) -> None:
    file.add_unit_column(name="quality", description="text")
    file.add_unit_column(name="flags", description="ragged booleans", index=True)
    for number in range(9):
        spikes = np.sort(values((35 * number,), "f8")) if number else np.empty(0)  # in all more than a u1 counts
        file.add_unit(
            spike_times=spikes,
            obs_intervals=np.ones((number % 3, 2)),
            electrodes=[number, number + 1],
            electrode_group=file.electrode_groups["shank"],
            waveform_mean=values((12, 2), "f4"),
            waveform_sd=values((12, 2), "f4"),
            waveforms=[[[1.0, 2.0, 3.0]] * 2] * (number + 1),
            quality="good" if number % 2 else "né",
            flags=[True, False] * number or [True],
        )
    ready = Units(name="ready", description="arrays", id=list(range(3)))
    ready.add_column(name="spike_times", description="times", data=values((300,), "f8"), index=[100, 100, 300])
    file.create_processing_module("sorted", "by another").add(ready)


def icephys(file: NWBFile, inputs: Path) -> None:
    """All series of a patch clamp, and the tables above them, which refer to series and rows."""
    electrode = file.create_icephys_electrode(name="pipette", description="one", device=file.create_device(name="rig"))
    pairs = [_clamped(file, electrode, number) for number in range(4)]
    file.add_acquisition(
        IZeroClampSeries(name="zero", data=values((40,), "f4"), electrode=electrode, gain=1.0, rate=9.0)
    )
    plain = PatchClampSeries(name="patch", data=values((40,)), unit="V", electrode=electrode, gain=1.0, rate=9.0)
    file.add_acquisition(plain)
    rows = [
        file.add_intracellular_recording(
            electrode=electrode,
            stimulus=stimulus,
            stimulus_start_index=n,
            stimulus_index_count=20,
            response=response,
            response_start_index=0,
            response_index_count=30 + n,
        )
        for n, (stimulus, response) in enumerate(pairs)
    ]
    file.intracellular_recordings.add_column(
        name="protocol", data=["a", "b", "ç", ""], description="text", category="electrodes"
    )
    simultaneous = [file.add_icephys_simultaneous_recording(recordings=rows[n : n + 2]) for n in (0, 2)]
    sequential = file.add_icephys_sequential_recording(simultaneous_recordings=simultaneous, stimulus_type="square")
    repeated = file.add_icephys_repetition(sequential_recordings=[sequential])
    file.add_icephys_experimental_condition(repetitions=[repeated])


def _clamped(file: NWBFile, electrode: Any, number: int) -> tuple[PatchClampSeries, PatchClampSeries]:
    shared = {"electrode": electrode, "gain": 2.0, "rate": 1e4, "sweep_number": np.uint64(number)}
    voltage = number % 2 == 0
    stimulus_kind = VoltageClampStimulusSeries if voltage else CurrentClampStimulusSeries
    response_kind = VoltageClampSeries if voltage else CurrentClampSeries
    more = {"capacitance_fast": 1e-12, "whole_cell_series_resistance_comp": 0.7} if voltage else {"bias_current": 1e-12}
    stimulus = stimulus_kind(name=f"stimulus_{number}", data=[0.0, 1.0] * 30, **shared)
    response = response_kind(name=f"response_{number}", data=values((60,), "f4"), **shared, **more)
    file.add_stimulus(stimulus)
    file.add_acquisition(response)
    return stimulus, response


def ogen(file: NWBFile, inputs: Path) -> None:
    """Light, where it went, and what it was."""
    site = OptogeneticStimulusSite(
        name="site",
        device=file.create_device(name="laser"),
        description="a site",
        excitation_lambda=470.0,
        location="V1",
    )
    file.add_ogen_site(site)
    file.add_stimulus(OptogeneticSeries(name="pulses", data=values((90,), "f8"), site=site, rate=1e3))
    file.add_stimulus(OptogeneticSeries(name="two", data=values((90, 2), "f4"), site=site, timestamps=np.arange(90.0)))
    file.add_stimulus_template(TimeSeries(name="template", data=values((50,)), unit="V", rate=1.0))
