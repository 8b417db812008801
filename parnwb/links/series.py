"""Series whose data, or timestamps, are another series': ``TimeSeries(data=other_series)``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pynwb import NWBFile, TimeSeries

from parnwb.builders import unwrapped
from parnwb.links.attributes import Mismatch
from parnwb.links.clocks import Clock, different_clocks
from parnwb.links.values import equal, shown

FIELDS = ("unit", "conversion", "resolution", "offset")


def mismatched_series(nwbfile: NWBFile) -> tuple[Mismatch, ...]:
    """Return in what new series differ from those whose data they share, through links. Independent.

    What has been read from a file, or written to one, is left alone.
    """
    series = [item for item in nwbfile.objects.values() if isinstance(item, TimeSeries)]
    return tuple(found for item in series if item.container_source is None for found in _of(item))


def _of(series: TimeSeries) -> Iterator[Mismatch]:
    owner = _owner(series, "data")
    if owner is None:
        return
    path, target = f"{place_of(series)}/data", f"{owner.container_source or ''}:{place_of(owner)}/data"
    for name in FIELDS:
        asked, found = getattr(series, name), getattr(owner, name)
        if not equal(asked, found):
            yield Mismatch(path, target, name, shown(asked), shown(found))
    if owner.container_source is not None:  # within a file the same data may have two clocks
        for difference in different_clocks(_clock(series), _clock(owner)):
            yield Mismatch(path, target, *difference)


def _clock(series: TimeSeries) -> Clock | None:
    return Clock.of(series.rate, series.starting_time, unwrapped(series.timestamps))


def _owner(series: TimeSeries, field: str) -> TimeSeries | None:
    """Return the series at the end of the chain, None where this one has data of its own."""
    current, seen = series.fields.get(field), 0
    while isinstance(current, TimeSeries) and isinstance(current.fields.get(field), TimeSeries) and seen < 100:
        current, seen = current.fields[field], seen + 1
    return current if isinstance(current, TimeSeries) else None


def place_of(container: Any) -> str:
    """Return names of a container and of those that hold it, for messages. Independent."""
    names: list[str] = []
    current = container
    while current is not None and not isinstance(current, NWBFile):
        names.append(current.name)
        current = current.parent
    return "/" + "/".join(reversed(names))
