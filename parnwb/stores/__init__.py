"""Zarr stores as hdmf-zarr writes them: what the root authors in memory, before ranks write the chunks of large arrays.

Imported where a store is written or read: ``hdmf-zarr`` is an extra (``pip install 'parnwb[zarr]'``).
"""
