"""What several modules of contract tests need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def own_type_map() -> Iterator[None]:
    """Let what a module registers be forgotten: pynwb puts every registered namespace into each file it writes."""
    import pynwb

    shared = vars(pynwb)["__TYPE_MAP"]
    vars(pynwb)["__TYPE_MAP"] = pynwb.get_type_map(copy=True)
    yield
    vars(pynwb)["__TYPE_MAP"] = shared
