"""``AnewIO``: a Zarr array that is not copied as it is."""

from __future__ import annotations

from hdmf_zarr import ZarrDataIO


class AnewIO(ZarrDataIO):
    """A Zarr array whose settings count: hdmf-zarr ignores those of ``ZarrDataIO``, and copies the array."""
