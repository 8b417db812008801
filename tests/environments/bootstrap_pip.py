"""Put pip into the virtual environment of this Python where the system has no ensurepip: its wheel, from PyPI."""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import Request, urlopen

INDEX = Request("https://pypi.org/simple/pip/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})


def release(item: dict) -> tuple[int, ...]:
    """Return the version of a finished release's wheel, and nothing for all other files."""
    named = re.fullmatch(r"pip-([0-9.]+)-py3-none-any\.whl", item["filename"])
    return tuple(int(part) for part in named[1].split(".")) if named and not item.get("yanked") else ()


def main() -> None:
    with urlopen(INDEX, timeout=60) as answer:
        files, place = json.load(answer)["files"], answer.url
    wheel = max((item for item in files if release(item)), key=release)
    with urlopen(urljoin(place, wheel["url"]), timeout=180) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != wheel["hashes"]["sha256"]:
        raise SystemExit("pip's wheel from PyPI has another checksum than PyPI says")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, wheel["filename"])
        path.write_bytes(data)
        # A wheel is a zip file, and pip runs from inside of one.
        subprocess.run([sys.executable, path / "pip", "install", "--quiet", "--no-index", path], check=True)


main()
