"""Calcium imaging: a TIFF stack, ROI masks and traces become one NWB file, written by all ranks.

    python calcium_imaging.py make SESSION                  # a small made session, to try it on
    mpiexec -n 4 python calcium_imaging.py SESSION out.nwb

SESSION is a folder with ``movie.tif`` (any TIFF, BigTIFF too, of one frame a page), ``masks.npy`` (rois, height, width)
and ``traces.npy`` (frames, rois), as a segmentation leaves them. None of the three is ever in memory as a whole.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from hdmf.common import VectorData
from hdmf.data_utils import GenericDataChunkIterator
from pynwb import H5DataIO, NWBFile
from pynwb.ophys import (
    Fluorescence,
    ImageSegmentation,
    OpticalChannel,
    PlaneSegmentation,
    RoiResponseSeries,
    TwoPhotonSeries,
)

FRAME_RATE = 30.0
CHUNK_BYTES = 4 * 2**20


class Pages(GenericDataChunkIterator):
    """The pages of a TIFF file as one array of shape (frames, height, width), decoded when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tiff = tifffile.TiffFile(path)
        first = self._tiff.pages[0]
        self._shape, self._type = (len(self._tiff.pages), *first.shape), first.dtype
        chunk = chunks_of_frames(self._shape, self._type)
        super().__init__(chunk_shape=chunk, buffer_shape=chunk)

    def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
        frames = range(self._shape[0])[selection[0]]
        return np.stack([self._tiff.pages[frame].asarray()[selection[1:]] for frame in frames])

    def _get_maxshape(self) -> tuple[int, ...]:
        return self._shape

    def _get_dtype(self) -> np.dtype[Any]:
        return self._type

    def __reduce__(self) -> tuple[Any, ...]:
        """Other ranks get the path, and open the file themselves."""
        return Pages, (self.path,)


def movie_of(path: Path) -> np.ndarray | Pages:
    """Return the frames of a TIFF file: mapped where they lie in it as they are, else decoded page by page."""
    try:
        return tifffile.memmap(path, mode="r")
    except ValueError:  # compressed, tiled, or not in one piece
        return Pages(path)


def chunks_of_frames(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return a chunk of whole frames, since whole frames are what a TIFF file is read by."""
    frame = int(np.prod(shape[1:])) * dtype.itemsize
    return (max(1, min(shape[0], CHUNK_BYTES // frame)), *shape[1:])


def build(session: Path) -> NWBFile:
    """Return the NWBFile of a session; its data stay in their files."""
    file = NWBFile(
        session_description="calcium imaging of a field of neurons",
        identifier=session.name,
        session_start_time=datetime(2024, 3, 5, 10, 15, 30, tzinfo=timezone.utc),
    )
    device = file.create_device("Microscope", description="a two-photon microscope")
    plane = file.create_imaging_plane(
        name="ImagingPlane",
        optical_channel=OpticalChannel(name="green", description="GCaMP6f", emission_lambda=510.0),
        description="layer 2/3",
        device=device,
        excitation_lambda=920.0,
        imaging_rate=FRAME_RATE,
        indicator="GCaMP6f",
        location="V1",
    )
    movie = movie_of(session / "movie.tif")
    # An iterator brings its chunk shape along, an array is told.
    chunks = {} if isinstance(movie, Pages) else {"chunks": chunks_of_frames(movie.shape, movie.dtype)}
    series = TwoPhotonSeries(
        name="TwoPhotonSeries",
        data=H5DataIO(movie, compression="gzip", **chunks),
        imaging_plane=plane,
        rate=FRAME_RATE,
        unit="n.a.",
    )
    file.add_acquisition(series)

    masks = np.load(session / "masks.npy", mmap_mode="r")
    rois = PlaneSegmentation(
        name="PlaneSegmentation",
        description="one row for each neuron",
        imaging_plane=plane,
        id=list(range(len(masks))),
        columns=[VectorData(name="image_mask", description="weight of each pixel", data=H5DataIO(masks, chunks=True))],
    )
    ophys = file.create_processing_module("ophys", "masks and traces")
    ophys.add(ImageSegmentation(plane_segmentations=[rois]))

    traces = np.load(session / "traces.npy", mmap_mode="r")
    response = RoiResponseSeries(
        name="RoiResponseSeries",
        data=H5DataIO(traces, compression="gzip", shuffle=True),
        rois=rois.create_roi_table_region(description="all neurons", region=list(range(len(masks)))),
        rate=FRAME_RATE,
        unit="n.a.",
    )
    ophys.add(Fluorescence(roi_response_series=[response]))
    return file


def make(session: Path, *, frames: int = 600, rois: int = 20, side: int = 128, **tiff: Any) -> None:
    """Make a session: neurons that blink, in noise. Further keywords are for ``tifffile.imwrite``."""
    session.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    y, x = np.mgrid[:side, :side]
    at = random.integers(5, side - 5, (rois, 2))
    masks = np.stack([np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8.0) for row, column in at]).astype("f4")
    traces = random.exponential(200.0, (frames, rois)).astype("f4")
    np.save(session / "masks.npy", masks)
    np.save(session / "traces.npy", traces)
    movie = random.poisson(np.tensordot(traces, masks, 1) + 20.0).astype("u2")
    tifffile.imwrite(session / "movie.tif", movie, bigtiff=True, photometric="minisblack", **tiff)


def main(session: Path, output: Path) -> None:
    """Write the file with all ranks. Collective."""
    from mpi4py import MPI

    from parnwb import NWBParallelIO

    comm = MPI.COMM_WORLD
    nwbfile = build(session) if comm.rank == 0 else None  # the other ranks are told what to read
    with NWBParallelIO(output, "w", comm=comm) as io:
        io.write(nwbfile)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
