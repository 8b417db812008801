"""Where a dataset's values come from: the ``Source`` protocol and one adapter for each kind of data."""

from parnwb.sources.access import Access
from parnwb.sources.adapt import as_source
from parnwb.sources.source import Source, read_checked, read_pieces

__all__ = ["Access", "Source", "as_source", "read_checked", "read_pieces"]
