"""Imaging: movies, regions in all three kinds of mask, traces, pictures, retinotopy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from contract.inputs import Slices, values
from hdmf.common import DynamicTable, VectorData, VectorIndex
from pynwb import H5DataIO, NWBFile, TimeSeries, get_class
from pynwb.base import ExternalImage, ImageReferences, Images
from pynwb.image import GrayscaleImage, ImageSeries, RGBAImage, RGBImage
from pynwb.ophys import (
    CorrectedImageStack,
    DfOverF,
    Fluorescence,
    ImageSegmentation,
    MotionCorrection,
    OnePhotonSeries,
    OpticalChannel,
    PlaneSegmentation,
    RoiResponseSeries,
    TwoPhotonSeries,
)

PIXEL = np.dtype([("x", "u4"), ("y", "u4"), ("weight", "f4")])


def ophys(file: NWBFile, inputs: Path) -> None:
    """From the movie to the traces."""
    plane = _plane(file)
    gzip = {"compression": "gzip", "chunks": (4, 9, 7)}
    two = TwoPhotonSeries(
        name="two", data=H5DataIO(values((20, 9, 7)), **gzip), imaging_plane=plane, rate=30.0, unit="1"
    )
    file.add_acquisition(two)
    movie = Slices(values((11, 9, 7), "u2"), (3, 9, 7))
    one = OnePhotonSeries(name="one", data=movie, imaging_plane=plane, rate=9.0, unit="1", binning=2, exposure_time=0.1)
    file.add_acquisition(one)
    cells = _segmented(file, plane)
    module = file.processing["ophys"]
    rois = cells.create_roi_table_region("some", region=[0, 2, 3])
    traces = RoiResponseSeries(name="traces", data=values((90, 3), "f4"), rois=rois, unit="1", rate=30.0)
    module.add(Fluorescence(roi_response_series=traces))
    again = cells.create_roi_table_region("all", region=list(range(6)))
    module.add(
        DfOverF(
            roi_response_series=RoiResponseSeries(
                name="df", data=values((90, 6)), rois=again, unit="1", timestamps=values((90,), "f8")
            )
        )
    )
    shifts = TimeSeries(name="xy_translation", data=values((20, 2), "f4"), unit="pixels", rate=30.0)
    corrected = ImageSeries(name="corrected", data=values((20, 9, 7)), unit="1", rate=30.0)
    stack = CorrectedImageStack(name="stack", corrected=corrected, original=two, xy_translation=shifts)
    module.add(MotionCorrection(corrected_image_stacks=stack))


def _plane(file: NWBFile) -> Any:
    channels = [OpticalChannel(name=name, description="a dye", emission_lambda=520.0) for name in ("green", "red")]
    return file.create_imaging_plane(
        name="plane",
        description="a plane",
        device=file.create_device(name="microscope"),
        optical_channel=channels,
        excitation_lambda=920.0,
        indicator="GCaMP6f",
        location="V1",
        imaging_rate=30.0,
        origin_coords=[1.0, 2.0],
        grid_spacing=[0.5, 0.5],
    )


def _segmented(file: NWBFile, plane: Any) -> PlaneSegmentation:
    pictured = PlaneSegmentation(name="pictured", description="images", imaging_plane=plane)
    pixels = PlaneSegmentation(name="pixels", description="lists of pixels", imaging_plane=plane)
    voxels = PlaneSegmentation(name="voxels", description="lists of voxels", imaging_plane=plane)
    for number in range(6):
        pictured.add_roi(image_mask=values((9, 7), "f4"))
        pixels.add_roi(pixel_mask=[(x, number, 0.25 * x) for x in range(60 * number + 1)])
        voxels.add_roi(voxel_mask=[(x, number, 3, 1.0) for x in range(number + 1)])
    regions = [pictured, pixels, voxels, _compressed(plane), _volumes(plane)]
    module = file.create_processing_module("ophys", "regions")
    module.add(ImageSegmentation(plane_segmentations=regions))
    return pictured


def _compressed(plane: Any) -> PlaneSegmentation:
    """Pixels as one array of compound values, in chunks that no rank count divides."""
    pixels = np.zeros(500, PIXEL)
    pixels["x"], pixels["weight"] = np.arange(500), values((500,), "f4")
    filters = {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (70,)}
    mask = VectorData(name="pixel_mask", description="pixels", data=H5DataIO(pixels, **filters))
    index = VectorIndex(name="pixel_mask_index", data=np.array([100, 350, 500]), target=mask)
    columns = {"columns": [mask, index], "colnames": ["pixel_mask"], "id": [7, 8, 9]}
    return PlaneSegmentation(name="compressed", description="an array", imaging_plane=plane, **columns)


def _volumes(plane: Any) -> PlaneSegmentation:
    masks = VectorData(name="image_mask", description="volumes", data=values((4, 9, 7, 3), "?"))
    columns = {"columns": [masks], "colnames": ["image_mask"], "id": list(range(4))}
    return PlaneSegmentation(name="volumes", description="3-d", imaging_plane=plane, **columns)


def pictures(file: NWBFile, inputs: Path) -> None:
    """Single images, their order, and one that lies elsewhere."""
    grey = GrayscaleImage(name="grey", data=values((30, 20), "f4"), resolution=70.0, description="dots")
    colour = RGBImage(name="colour", data=H5DataIO(values((30, 20, 3), "u1"), compression="gzip", chunks=(8, 20, 3)))
    clear = RGBAImage(name="clear", data=values((30, 20, 4), "f8"))
    order = ImageReferences(name="order_of_images", data=[clear, grey, colour])
    file.add_acquisition(Images(name="pictures", images=[grey, colour, clear], order_of_images=order))
    outside = ExternalImage(name="outside", data="é/a picture.png", image_format="PNG", image_mode="RGB")
    file.add_stimulus_template(Images(name="elsewhere", images=[outside]))
    table = DynamicTable(name="shown", description="references to images", id=list(range(4)))
    table.add_column(name="picture", description="references", data=[grey, colour, clear, grey])
    file.add_analysis(table)


def retinotopy(file: NWBFile, inputs: Path) -> None:
    """Maps of the cortex, by the class that pynwb makes from the schema."""
    size = {"dimension": [9, 7], "field_of_view": [1.0, 2.0]}
    maps = {f"axis_{n}_{kind}_map": values((9, 7), "f4") for n in (1, 2) for kind in ("phase", "power")}
    about = {f"{name}__{field}": value for name in maps for field, value in {**size, "unit": "degrees"}.items()}
    images = {"vasculature_image": values((9, 7), "u2"), "focal_depth_image": values((9, 7), "u2")}
    image_size = {**size, "bits_per_pixel": 16, "format": "raw"}
    about |= {f"{name}__{field}": value for name in images for field, value in image_size.items()}
    about |= {f"sign_map__{field}": value for field, value in size.items()}
    kind = get_class("ImagingRetinotopy", "core")
    retina = kind(
        name="retina",
        axis_descriptions=["altitude", "azimuth"],
        sign_map=values((9, 7), "f4"),
        focal_depth_image__focal_depth=0.5,
        **maps,
        **images,
        **about,
    )
    file.create_processing_module("retinotopy", "maps").add(retina)
