"""Which rank speaks to the user before MPI has begun, and after."""

from __future__ import annotations

import sys
from typing import Any


def show_warning(message: Warning | str, *where: Any, **also: Any) -> None:
    """Print a warning in one line, once for all ranks."""
    if speaks():
        print(f"parnwb: warning: {message}", file=sys.stderr, flush=True)


def speaks() -> bool:
    """Tell whether this rank is the one to print; asked of the launcher, because MPI may not have begun."""
    from parnwb.comm import launched_rank

    return launched_rank() == 0
