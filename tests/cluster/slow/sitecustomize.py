"""Makes storage slow, so that a small recording keeps a job busy: each write of chunks takes PARNWB_TEST_DELAY seconds."""

from __future__ import annotations

import os
import time
from typing import Any

pwritev = os.pwritev


def slow(*arguments: Any) -> int:
    time.sleep(float(os.environ.get("PARNWB_TEST_DELAY", "0")))
    return pwritev(*arguments)


os.pwritev = slow
