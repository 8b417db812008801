"""Iterators of neuroconv over what roiextractors, OpenCV and spikeinterface read: the real classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from contract.inputs import add
from contract.media import CHANNELS, HEIGHT, WIDTH
from neuroconv.datainterfaces.behavior.video.video_utils import VideoDataChunkIterator
from neuroconv.tools.nwb_helpers import configure_backend, get_default_backend_configuration
from neuroconv.tools.roiextractors.imagingextractordatachunkiterator import ImagingExtractorDataChunkIterator
from neuroconv.tools.spikeinterface.spikeinterfacerecordingdatachunkiterator import (
    SpikeInterfaceRecordingDataChunkIterator,
)
from pynwb import H5DataIO, NWBFile
from roiextractors import MultiTIFFMultiPageExtractor, TiffImagingExtractor
from spikeinterface.core import BaseRecording, BinaryRecordingExtractor
from spikeinterface.preprocessing import common_reference, highpass_filter, phase_shift

from parnwb import MovieFrames

# Blocks of the read grid in these tests: some rows of all channels.
GRID_BYTES = 64_000

Content = Callable[[NWBFile, Path], None]


def tiff(file: NWBFile, inputs: Path) -> None:
    """One file and several, in chunks of whole frames and of parts."""
    one = TiffImagingExtractor(inputs / "one.tif", sampling_frequency=30.0)
    several = MultiTIFFMultiPageExtractor(sorted(inputs.glob("part*.tif")), sampling_frequency=30.0)
    frames = {"chunk_shape": (5, WIDTH, HEIGHT), "buffer_shape": (20, WIDTH, HEIGHT)}
    parts = {"chunk_shape": (7, WIDTH // 2, HEIGHT), "buffer_shape": (14, WIDTH, HEIGHT)}
    add(file, "one", ImagingExtractorDataChunkIterator(one, **frames))
    add(file, "packed", H5DataIO(ImagingExtractorDataChunkIterator(several, **parts), compression="gzip"))


def video(file: NWBFile, inputs: Path) -> None:
    """Of even and uneven frame rates, and one with a beginning of equal frames."""
    shape = {"chunk_shape": (7, HEIGHT, WIDTH, 3), "buffer_shape": (14, HEIGHT, WIDTH, 3)}
    for name in ("video.avi", "video.mp4", "uneven.mp4", "dark.avi"):
        data = VideoDataChunkIterator(str(inputs / name), **shape)
        add(file, name.replace(".", "_"), data if name == "video.avi" else H5DataIO(data, compression="gzip"))


def frames(file: NWBFile, inputs: Path) -> None:
    """Movies of even and uneven frame rates, and a stack in several files, that all ranks decode."""
    for name in ("video.avi", "video.mp4", "uneven.mp4"):
        data = MovieFrames(inputs / name, chunk_shape=(7, HEIGHT, WIDTH, 3), buffer_shape=(14, HEIGHT, WIDTH, 3))
        add(file, name.replace(".", "_"), data if name == "video.avi" else H5DataIO(data, compression="gzip"))
    add(file, "stack", MovieFrames(sorted(inputs.glob("part*.tif")), chunk_shape=(7, HEIGHT, WIDTH // 2)))


def raw(inputs: Path) -> BaseRecording:
    """Return the recording that is to be filtered."""
    return BinaryRecordingExtractor(inputs / "recording.raw", 30_000.0, "int16", num_channels=CHANNELS)


def lazy(block_bytes: int) -> Content:
    """Return recordings filtered when they are read: by pynwb in blocks of so many bytes, by parnwb in its own."""

    def content(file: NWBFile, inputs: Path) -> None:
        def read(recording: BaseRecording) -> SpikeInterfaceRecordingDataChunkIterator:
            rows = block_bytes // CHANNELS // recording.get_dtype().itemsize
            shapes = {"chunk_shape": (500, CHANNELS // 2), "buffer_shape": (rows, CHANNELS)}
            return SpikeInterfaceRecordingDataChunkIterator(recording, **shapes)

        recording, shift = raw(inputs), np.arange(CHANNELS) / CHANNELS
        filtered = highpass_filter(recording, dtype="float32")
        add(file, "highpass_filter", H5DataIO(read(filtered), compression="gzip", shuffle=True))
        add(file, "phase_shift", read(phase_shift(recording, inter_sample_shift=shift)))
        chain = common_reference(phase_shift(highpass_filter(recording), inter_sample_shift=shift))
        add(file, "chain", read(chain))

    return content


def configured(file: NWBFile, inputs: Path) -> None:
    """Iterators to which neuroconv has given its default settings; one has chunk extents that are floats."""
    stack = TiffImagingExtractor(inputs / "one.tif", sampling_frequency=30.0)
    frames = {"chunk_shape": (5, WIDTH, HEIGHT), "buffer_shape": (20, WIDTH, HEIGHT)}
    shapes = {"chunk_shape": (500.0, CHANNELS), "buffer_shape": (1000, CHANNELS)}
    add(file, "recorded", SpikeInterfaceRecordingDataChunkIterator(raw(inputs), **shapes))
    add(file, "imaged", ImagingExtractorDataChunkIterator(stack, **frames))
    configure_backend(file, get_default_backend_configuration(file, "hdf5"))


CONTENTS: dict[str, Content] = {
    "tiff": tiff,
    "video": video,
    "frames": frames,
    "lazy": lazy(GRID_BYTES),
    "configured": configured,
}
