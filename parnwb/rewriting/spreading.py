"""A file whose bulk datasets are virtual, made from one that has them empty; and an empty part for their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py

from parnwb.authoring.bulk_rule import BulkRule
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.links.tiles import escaped
from parnwb.memory_file import open_on
from parnwb.overlay import Overlay
from parnwb.rewriting.copying import copy_objects
from parnwb.rewriting.item import Item, Kind
from parnwb.rewriting.names import parted
from parnwb.rewriting.references import key_of
from parnwb.rewriting.rewriting import file_creation
from parnwb.rewriting.survey import Scope, survey
from parnwb.sources.raw_chunks import creation_of_same

NOTHING_LARGE = BulkRule(threshold=1 << 62)


@dataclass(frozen=True)
class Piece:
    """Elements of a dataset that are in a file of their own, in a dataset of the same path and shape.

    Parameters
    ----------
    file
        Relative to the folder of the whole.
    elements
        Where they are, there as in the whole.
    """

    file: str
    elements: Hyperslab


def empty_part(file: h5py.File, layout: FileLayout) -> Overlay:
    """Return the bytes of a file with all datasets of a layout, of which no chunk is there. Independent.

    Parameters
    ----------
    file
        Has the datasets, by which their types and properties are made.
    layout
        All in chunks.
    """
    overlay = Overlay()
    with open_on(overlay, Path("part.h5")) as part:
        for spec in layout:
            kind, creation = file[spec.path].id.get_type(), creation_of_same(file[spec.path])
            creation.set_chunk(spec.chunks)
            creation.set_alloc_time(h5py.h5d.ALLOC_TIME_INCR)  # or HDF5 would write what other ranks have
            link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
            link.set_create_intermediate_group(True)
            link.set_char_encoding(h5py.h5t.CSET_UTF8)
            kind = kind.copy() if kind.committed() else kind
            h5py.h5d.create(part.id, spec.path.encode(), kind, _space(spec), creation, link)
    return overlay


def spread(file: h5py.File, path: Path, layout: FileLayout, pieces: Mapping[int, Sequence[Piece]]) -> Overlay:
    """Return the bytes of a file that is as ``file``, but for datasets that consist of pieces. Independent.

    Parameters
    ----------
    file
        Has these datasets, empty.
    path
        Final path of the new one.
    layout
        Of these datasets as they are in the end.
    pieces
        By number of a dataset; one that has none stays as it is.
    """
    with ExitStack() as files:
        found = survey(file, Scope(NOTHING_LARGE), files)
        numbers = {found.places[key_of(file[layout.datasets[number].path].id)]: number for number in pieces}
        items = (replace(item, kind=Kind.BULK) if item.path in numbers else item for item in found.items)
        found = replace(found, items=tuple(items))

        def create(group: h5py.h5g.GroupID, item: Item, kind: h5py.h5t.TypeID, link: Any) -> None:
            number = numbers[item.path]
            spec = layout.datasets[number]
            creation = _virtual(item.dataset, spec, pieces[number])
            h5py.h5d.create(group, parted(item.path)[1], kind, _space(spec), creation, link)

        overlay = Overlay()
        creation, oldest = file_creation(file)
        with open_on(overlay, path, creation, oldest) as made:
            copy_objects(made, found, create)
    return overlay


def _virtual(dataset: h5py.Dataset, spec: DatasetSpec, pieces: Sequence[Piece]) -> h5py.h5p.PropDCID:
    there, creation = dataset.id.get_create_plist(), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_attr_creation_order(there.get_attr_creation_order())
    creation.set_attr_phase_change(*there.get_attr_phase_change())
    creation.set_obj_track_times(there.get_obj_track_times())
    if spec.fillvalue:
        creation.set_fill_value(spec.fill)
    path = escaped(spec.path).encode()
    for piece in pieces:
        place = _space(spec)
        place.select_hyperslab(piece.elements.start, piece.elements.count)
        creation.set_virtual(place, escaped(piece.file).encode(), path, place)
    return creation


def _space(spec: DatasetSpec) -> h5py.h5s.SpaceID:
    limits = tuple(h5py.h5s.UNLIMITED if extent is None else extent for extent in spec.maxshape)
    return h5py.h5s.create_simple(spec.shape, limits)
