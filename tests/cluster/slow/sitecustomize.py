"""Makes storage slow, so that a small recording keeps a job busy: PARNWB_TEST_DELAY seconds for each write."""

from __future__ import annotations

import os
import time
from typing import Any

pwritev = os.pwritev


def slow(*arguments: Any) -> int:
    time.sleep(float(os.environ.get("PARNWB_TEST_DELAY", "0")))
    return pwritev(*arguments)


os.pwritev = slow
