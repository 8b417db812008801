"""Any other filter, by HDF5's own pipeline in a private file in memory.

Slower than the programs in ``deflate`` because HDF5 lets one thread of a process in at a time, but right for every
filter that the installed HDF5 can apply: LZF, szip, scale-offset, N-bit, plugins.
"""

from __future__ import annotations

import uuid
from typing import Any

import numpy.typing as npt

from parnwb.errors import CodecError
from parnwb.layout import DatasetSpec


class NativeFilters:
    """One chunk goes in as values and comes out as the bytes that HDF5 stored."""

    def __init__(self, spec: DatasetSpec) -> None:
        import h5py

        self._zero = (0,) * len(spec.shape)
        for item in spec.filters:
            check_encodable(item.identifier, item.name, spec.path)
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk(spec.grid.chunk)
        if spec.fillvalue:  # scale-offset keeps the fill value apart
            creation.set_fill_value(spec.fill)
        for item in spec.filters:
            creation.set_filter(item.identifier, h5py.h5z.FLAG_OPTIONAL, item.given_options)
        self._file = h5py.File(f"parnwb-{uuid.uuid4()}", "w", driver="core", backing_store=False)
        kind = h5py.h5t.py_create(spec.numpy_dtype, logical=True)
        space = h5py.h5s.create_simple(spec.grid.chunk)
        self._dataset = h5py.Dataset(h5py.h5d.create(self._file.id, b"chunk", kind, space, creation))

    def encode(self, chunk: npt.NDArray[Any]) -> tuple[int, Any]:
        """Return what HDF5 stored for the chunk, and the mask of the filters it skipped."""
        self._dataset[...] = chunk
        self._dataset.flush()
        mask, stored = self._dataset.id.read_direct_chunk(self._zero)
        return mask, bytes(stored)


def check_encodable(identifier: int, name: str, path: str) -> None:
    """Refuse a filter that this build of HDF5 cannot apply.

    Raises
    ------
    CodecError
        Names the filter.
    """
    import h5py

    if is_available(identifier) and h5py.h5z.get_filter_info(identifier) & h5py.h5z.FILTER_CONFIG_ENCODE_ENABLED:
        return
    raise CodecError(
        f"filter {identifier} ({name or 'no name'}) cannot be applied by this build of HDF5 "
        f"{h5py.version.hdf5_version}",
        where=path,
        remedy="Install its plugin on all hosts (pip install 'parnwb[plugins]' has many), or choose gzip",
    )


def find_filters(spec: DatasetSpec) -> None:
    """Let HDF5 have hdf5plugin's filters, if that is installed and HDF5 lacks one of a dataset's. Independent."""
    for item in spec.filters:
        is_available(item.identifier)


def is_available(identifier: int) -> bool:
    """Tell whether HDF5 has a filter, perhaps from hdf5plugin. Independent."""
    import h5py

    if not h5py.h5z.filter_avail(identifier):
        try:
            import hdf5plugin  # noqa: F401 - importing it is what lets HDF5 find them
        except ImportError:
            return False
    return bool(h5py.h5z.filter_avail(identifier))
