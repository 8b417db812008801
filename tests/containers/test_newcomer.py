"""The newcomer's path: a clean Debian and README's first commands, to a verified file and the first page."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from containers.podman import BASE, CERTIFICATES, ROOT, Podman
from docs.blocks import blocks
from mpi_launch import mpi_vendor

pytestmark = [
    pytest.mark.mpi_skip,
    pytest.mark.slow,
    pytest.mark.skipif(mpi_vendor() != "mpich", reason="the same in both environments: a container has its own"),
]
# Of what README takes for granted: "On Debian or Ubuntu with git, make and Python".
GRANTED = "apt-get update -qq && apt-get install -y -qq --no-install-recommends git make python3 > /dev/null"
DEMO_SECONDS = 180
TRUSTED_BY = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def commands() -> list[str]:
    """Return README's first commands, as they are typed; not `make test`, which runs this."""
    first = next(block for block in blocks(ROOT / "README.md") if block.language == "sh")
    lines = [line.partition("  #")[0].strip() for line in first.code.splitlines()]
    return [line for line in lines if line != "make test"]


def test_the_readme_begins_with_what_is_run_here() -> None:
    assert commands() == ["git clone <this repository> parnwb && cd parnwb", "make demo", "make docs"]


@pytest.mark.timeout(1600)  # the tutorials of the pages are run
def test_a_newcomer_comes_to_a_verified_file_and_to_the_first_page(podman: Podman, tmp_path: Path) -> None:
    bundle = tmp_path / "parnwb.bundle"
    subprocess.run(["git", "-C", ROOT, "bundle", "create", "-q", bundle, "HEAD"], check=True, timeout=60)
    clone, demo, docs = (line.replace("<this repository>", "/run/parnwb.bundle") for line in commands())
    page = "grep '<title>' docs/_build/index.html"
    # Where the network signs certificates itself, programs other than pip are told, too.
    trust = [f"export {name}={podman.for_pip[CERTIFICATES]}" for name in TRUSTED_BY if podman.for_pip]
    typed = ["set -e", *trust, clone, "SECONDS=0", demo, 'echo "after $SECONDS s"', docs, page]
    home = f"useradd --create-home --shell /bin/bash newcomer; su - newcomer -c {shlex.quote('; '.join(typed))}"
    mounted = {bundle: "/run/parnwb.bundle", **podman.for_pip}
    said = podman.run(BASE, "bash", "-ec", f"{GRANTED}; {home}", timeout=1500, mounted=mounted)
    assert "GOOD: " in said and "demo.nwb" in said, said
    assert int(re.search(r"after (\d+) s", said).group(1)) < DEMO_SECONDS, said
    assert "<title>parnwb" in said, said
