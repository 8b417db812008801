"""Build the pages: warnings are errors, tutorials run under mpiexec, and every link within the pages leads somewhere.

python docs/build.py [FOLDER]
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 500


class Page(HTMLParser):
    """What a page links to, and where it can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.targets |= {value for name in ("id", "name") if (value := given.get(name))}
        self.links += [value for name in ("href", "src") if (value := given.get(name))]


def broken_links(folder: Path) -> Iterator[str]:
    """Iterate over links of pages in a folder to what is not in it."""
    pages = {path.resolve(): Page(path) for path in folder.rglob("*.html") if "_static" not in path.parts}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                yield f"{path.relative_to(folder.resolve())}: {link}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].targets:
                yield f"{path.relative_to(folder.resolve())}: {link} has no such place"


def build(folder: Path) -> list[str]:
    """Return what is wrong; nothing for good pages."""
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-E", "-W", "--keep-going", HERE, folder]
    if subprocess.run(command, timeout=TIMEOUT_SECONDS, check=False).returncode:
        return ["Sphinx has failed: see above"]
    return sorted(set(broken_links(folder)))


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "_build"
    began = time.monotonic()
    wrong = build(folder)
    print("\n".join(wrong) if wrong else f"{folder / 'index.html'} ({time.monotonic() - began:.0f} s)")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
