"""Where a dataset's values come from: the ``Source`` protocol and one adapter for each kind of data."""

from parnwb.sources.access import Access
from parnwb.sources.adapt import as_source
from parnwb.sources.source import (
    EncodedSource,
    Source,
    file_ranges,
    read_beside,
    read_checked,
    read_from,
    read_pieces,
    reads_whole_rows,
    takes_over,
)

__all__ = [
    "Access",
    "EncodedSource",
    "Source",
    "as_source",
    "file_ranges",
    "read_beside",
    "read_checked",
    "read_from",
    "read_pieces",
    "reads_whole_rows",
    "takes_over",
]
