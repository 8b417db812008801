"""What becomes of links whose targets are not what the container says."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from parnwb.errors import LinkError

if TYPE_CHECKING:
    from parnwb.links.attributes import Mismatch

POLICIES = ("raise", "warn", "copy")
MAX_SHOWN = 10


def check_policy(policy: object) -> None:
    """Refuse what is no policy. Independent."""
    if policy not in POLICIES:
        raise LinkError(f"on_mismatch must be one of {', '.join(POLICIES)}, got {policy!r}")


def heed(found: Sequence[Mismatch], policy: str) -> None:
    """Refuse mismatches, or warn of each; those that a copy mends are copied where that is the policy. Independent.

    Raises
    ------
    LinkError
        There are any left, and the policy is not to warn.
    """
    if policy == "copy":
        found = [item for item in found if not item.copy_mends]
    if policy == "warn":
        for item in found:
            warnings.warn(f"readers will find the values of what is linked to: {item}", stacklevel=2)
    elif found:
        more = f"; and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
        can_be_copied = all(item.copy_mends for item in found)
        raise LinkError(
            "what is linked to must be what the container says, for readers find its attributes: "
            + "; ".join(map(str, found[:MAX_SHOWN]))
            + more,
            remedy="Give the container the values that are there, give data=other.data[:] of a series, or say "
            + ("on_mismatch='copy' (values and the container's attributes come into this file) or 'warn'"
            if can_be_copied else "on_mismatch='warn': 'copy' does not mend it all")
        )
