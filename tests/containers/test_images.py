"""Images as they are meant to be used: as a user, with a demo inside, and with a health that parnwb tells."""

from __future__ import annotations

import pytest
from containers.podman import BASE, ROOT, Podman
from mpi_launch import mpi_vendor

pytestmark = [pytest.mark.mpi_skip, pytest.mark.slow]
only_openmpi = pytest.mark.skipif(mpi_vendor() != "openmpi", reason="the image with parallel HDF5 is Open MPI's")


def test_it_says_what_it_is(podman: Podman, image: str) -> None:
    said = podman.settings(image)
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in said["Labels"].items()}
    assert labels["title"] == "parnwb" and labels["licenses"] == "BSD-3-Clause" and labels["version"] == "1.2.3"
    assert said["User"] == "parnwb" and said["Config"]["WorkingDir"] == "/data"
    assert podman.run(image, "id", "-u").strip() == "1000"


def test_its_version_is_the_one_it_was_built_as(podman: Podman, image: str) -> None:
    assert "1.2.3" in podman.run(image, "parnwb", "--version")


def test_its_health_is_what_doctor_says(podman: Podman, image: str) -> None:
    check = podman.settings(image)["Healthcheck"]["Test"]
    assert check == ["CMD", "parnwb", "doctor", "/tmp"]
    assert "GOOD" in podman.run(image, *check[1:])
    assert podman.call("run", "--rm", "--no-healthcheck", image, *check[1:-1], "/sys", check=False).returncode == 1


def test_a_demo_on_ranks_that_are_launched_inside(podman: Podman, image: str) -> None:
    said = podman.run(image, "mpirun", "-n", "2", "parnwb", "demo", "--megabytes", "5")
    assert "MB/s on 2 rank(s)" in said and "GOOD: /data/demo/demo.nwb" in said, said
    assert said.count("Making a Neuropixels recording") == said.count("Done in") == 1


@only_openmpi
def test_h5py_writes_in_parallel(podman: Podman, image: str) -> None:
    convert = "mpirun -n 2 parnwb convert demo/recording/demo_g0 demo/mpio.nwb --metadata demo/metadata.yaml"
    script = f"parnwb demo --megabytes 3 && {convert} --backend mpio && mpirun -n 2 parnwb verify demo/mpio.nwb"
    said = podman.run(image, "bash", "-c", script)
    assert "backend mpio: as asked for" in said and "GOOD: /data/demo/mpio.nwb" in said, said


@only_openmpi
def test_apptainers_definition_does_the_same(podman: Podman, image: str) -> None:
    """Apptainer itself is not to be had from Debian: what it would run is run by podman, file by file."""
    parts = sections((ROOT / "docker" / "parnwb.def").read_text().replace("{{ version }}", "1.2.3"))
    file = podman.folder / "from-definition"
    copies = "\n".join(f"COPY {line.strip()}" for line in parts["files"])
    (podman.folder / "post.sh").write_text("set -e\n" + "\n".join(parts["post"]) + "\n")
    post = (podman.folder / "post.sh").read_text()
    file.write_text(f"FROM {BASE}\n{copies}\nRUN echo {encoded(post)} | base64 -d | bash\n")
    tag = podman.build("localhost/parnwb-test-apptainer", file)
    script = "\n".join([*parts["environment"], 'set -- --version; parnwb "$@"', "parnwb doctor /tmp"])
    said = podman.run(tag, "bash", "-ec", script)
    assert "1.2.3" in said and "h5py        with MPI" in said and "GOOD" in said


def sections(definition: str) -> dict[str, list[str]]:
    """Return the lines of each section of a definition of Apptainer's."""
    found: dict[str, list[str]] = {}
    name = "header"
    for line in definition.splitlines():
        if line.startswith("%"):
            name = line[1:].split()[0]
        elif line.strip():
            found.setdefault(name, []).append(line)
    return found


def encoded(text: str) -> str:
    import base64

    return base64.b64encode(text.encode()).decode()
