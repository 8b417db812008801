"""Damage to what an interrupted job has left: resuming is refused, or gives the right file; never a wrong one."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from contract.compare import Snapshot
from failure.calls import KILLED, in_child
from failure.resuming import (
    Stop,
    assert_same,
    commits_every,
    comparable,
    journal_of,
    partial_of,
    session,
    stopped_at,
    write,
    write_plainly,
)
from failure.test_boundaries import until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mpi_launch import run_mpi

from parnwb.commits.journal import CHECK, MARK, PREFIX, crc32c, frames, replay
from parnwb.errors import ParnwbError

pytestmark = [pytest.mark.mpi_skip, pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]
pytestmark += [pytest.mark.once]  # about the journal's bytes, and parnwb's alone

SCALE = 1
EVERY = 3
OUT = "out.nwb"
EXAMPLES = 120
Content = dict[str, bytes]
PARTIAL, JOURNAL = partial_of(Path(OUT)).name, journal_of(Path(OUT)).name


def attempt(path: Path, mode: str = "resume", *, seed: int = 0, overwrite: bool = False) -> None:
    with commits_every(EVERY):
        write(path, session(SCALE, seed=seed), mode, specs=False, commit_interval=1, overwrite=overwrite)


def left_by(folder: Path, stop: int, *, seed: int = 0) -> Content:
    """Return what a job leaves whose encoding fails at some batch."""
    folder.mkdir()
    with stopped_at(stop), commits_every(EVERY), pytest.raises(Stop):
        write(folder / OUT, session(SCALE, seed=seed), specs=False, commit_interval=1)
    return contents(folder)


def left_by_two_ranks(folder: Path, calls: int) -> Content:
    """Return what a job on two ranks leaves, which has put the same chunks elsewhere, when its root dies."""
    marks = folder.with_name("marks")
    for each in (folder, marks):
        each.mkdir()
    options = {"scale": SCALE, "seconds": 0.002, "commit_interval": 0.005, "end_after": [0, calls], "specs": False}
    program = Path(__file__).with_name("attempt.py")
    run_mpi(2, [sys.executable, "-W", "ignore", program, folder / OUT, marks, json.dumps(options)], timeout=60)
    return contents(folder)


def left_before(folder: Path, kind: str, ending: str) -> Content:
    """Return what a job leaves that ends before its first call of a kind, to a file whose name ends so."""
    folder.mkdir()
    assert in_child(lambda: until(folder, kind, lambda: attempt(folder / OUT), ending)) == KILLED
    return contents(folder)


def contents(folder: Path) -> Content:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@dataclass(frozen=True)
class Material:
    """What jobs have left, by name; those of the same session first, which may be resumed."""

    expected: Snapshot
    jobs: dict[str, Content]
    strangers: dict[str, Content]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    expected = comparable(write_plainly(folder / "plain.nwb", session(SCALE), specs=False))
    jobs = {
        "early": left_by(folder / "early", 8),
        "late": left_by(folder / "late", 13),
        "complete": left_before(folder / "complete", "replace", ".partial"),
        "published": left_before(folder / "published", "unlink", ".partial.journal"),
    }
    strangers = {
        **jobs,
        "other": left_by(folder / "other", 13, seed=7),
        "elsewhere": left_by_two_ranks(folder / "elsewhere", 33),
    }
    return Material(expected, jobs, strangers)


# -- damage ----------------------------------------------------------------------------------------------------


def spot(data: bytes, where: float) -> int:
    """Return a position: in a journal each frame has an equal share of them, though the first is the longest."""
    parts = split(data) if data.startswith(MARK) else [data]
    number, within = divmod(where * len(parts), 1)
    return sum(map(len, parts[: int(number)])) + int(within * len(parts[int(number)]))


def flip(data: bytes, where: float, bit: int) -> bytes:
    position = spot(data, where)
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :] if data else data


def zero(data: bytes, where: float, length: int) -> bytes:
    position = spot(data, where)
    return data[:position] + bytes(min(length, len(data) - position)) + data[position + length :]


def split(journal: bytes) -> list[bytes]:
    """Return the frames of a journal as bytes."""
    found, position = [], 0
    while position + PREFIX.size <= len(journal):
        length = PREFIX.size + CHECK.size + PREFIX.unpack_from(journal, position)[2]
        length = min(length, len(journal) - position)  # it may be damaged already
        found.append(journal[position : position + length])
        position += length
    return found


def rearrange(journal: bytes, how: str, a: int, b: int) -> bytes:
    """Drop, repeat, exchange frames."""
    parts = split(journal)
    if not parts:
        return journal
    a, b = a % len(parts), b % len(parts)
    if how == "drop":
        del parts[a]
    elif how == "repeat":
        parts.insert(b, parts[a])
    else:
        parts[a], parts[b] = parts[b], parts[a]
    return b"".join(parts)


Damage = Callable[[Content, Material], None]


def to_file(name: str, change: Callable[[bytes], bytes], told: str) -> Damage:
    def damage(files: Content, material: Material) -> None:
        if name in files:
            files[name] = change(files[name])

    damage.__name__ = f"{told} of {name}"
    return damage


def taken_from(name: str, job: str) -> Damage:
    def damage(files: Content, material: Material) -> None:
        files.pop(name, None)
        if name in material.strangers[job]:
            files[name] = material.strangers[job][name]

    damage.__name__ = f"{name} is that of {job}"
    return damage


def removed(name: str) -> Damage:
    def damage(files: Content, material: Material) -> None:
        files.pop(name, None)

    damage.__name__ = f"{name} is gone"
    return damage


places = st.floats(0, 1, exclude_max=True)
names = st.sampled_from([PARTIAL, JOURNAL, JOURNAL])
numbers, bits, lengths = st.integers(0, 20), st.integers(0, 7), st.integers(1, 9000)
damages = st.one_of(
    st.builds(lambda n, w: to_file(n, lambda d: d[: spot(d, w)], f"cut at {w:.4f}"), names, places),
    st.builds(lambda n, w, b: to_file(n, lambda d: flip(d, w, b), f"bit {b} at {w:.4f}"), names, places, bits),
    st.builds(lambda n, w, c: to_file(n, lambda d: zero(d, w, c), f"{c} zeros at {w:.4f}"), names, places, lengths),
    st.builds(lambda n, t: to_file(n, lambda d: d + t, f"{len(t)} bytes after the end"), names, st.binary(max_size=90)),
    st.builds(
        lambda h, a, b: to_file(JOURNAL, lambda d: rearrange(d, h, a, b), f"{h} {a} {b}"),
        st.sampled_from(["drop", "repeat", "exchange"]),
        numbers,
        numbers,
    ),
    st.builds(taken_from, names, st.sampled_from(["early", "late", "complete", "published", "other", "elsewhere"])),
    st.builds(removed, names),
)


# -- what must hold --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="parnwb-damage-", dir=base) as name:
        yield Path(name) / "out"


def lay_out(folder: Path, files: Content) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / OUT


def vouches_wrongly(path: Path) -> bool:
    """Tell whether the journal names a chunk whose bytes in the partial file are others."""
    journal, partial = journal_of(path), partial_of(path)
    if not journal.exists() or not partial.exists() or not any(frames(journal)):
        return False
    content = partial.read_bytes()
    records = replay(journal).records.tolist()
    return any(crc32c(content[address : address + size]) != check for _, _, address, size, _, check in records)


def resume_and_check(path: Path, material: Material) -> str:
    """Resume what is there and check what comes of it; return ``refused`` or ``finished``."""
    files = contents(path.parent)
    try:
        attempt(path)
    except ParnwbError as error:
        assert error.where or error.remedy, f"not clear: {error}"
        if OUT in files:
            assert path.read_bytes() == files[OUT], "a finished file was changed"
        attempt(path, "w", overwrite=True)  # which is the way out
        assert_same(path, material.expected)
        return "refused"
    assert_same(path, material.expected)
    return "finished"


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(job=st.sampled_from(["early", "late", "complete", "published"]), many=st.lists(damages, min_size=1, max_size=2))
def test_damage_of_any_kind(material: Material, folder: Path, job: str, many: list[Damage]) -> None:
    files = dict(material.jobs[job])
    for damage in many:
        damage(files, material)
    told = f"{job}: {', '.join(damage.__name__ for damage in many)}"
    try:
        resume_and_check(lay_out(folder, files), material)
    except Exception as error:
        raise AssertionError(f"{told}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("job", ["early", "late", "complete"])
@pytest.mark.parametrize("stranger", ["other", "early", "late", "complete", "elsewhere"])
@pytest.mark.parametrize("name", [JOURNAL, PARTIAL])
def test_a_file_of_another_job(material: Material, folder: Path, job: str, stranger: str, name: str) -> None:
    files = dict(material.jobs[job])
    taken_from(name, stranger)(files, material)
    path = lay_out(folder, files)
    found = resume_and_check(path, material)
    assert found == "refused" or stranger != "other" or name == PARTIAL, "another recording's journal was believed"


@pytest.mark.parametrize("job", ["early", "late", "complete"])
@pytest.mark.parametrize("stranger", ["other", "early", "late", "complete", "elsewhere"])
def test_a_journal_that_goes_on_as_that_of_another_job(
    material: Material, folder: Path, job: str, stranger: str
) -> None:
    """Each frame is whole and has the right number."""
    own, others = split(material.jobs[job][JOURNAL]), split(material.strangers[stranger][JOURNAL])
    for count in range(1, min(len(own), len(others))):
        spliced = b"".join([*own[:count], *others[count:]])
        resume_and_check(lay_out(folder, {**material.jobs[job], JOURNAL: spliced}), material)


@pytest.mark.parametrize("job", ["early", "late", "complete"])
def test_every_byte_of_the_journals_bookkeeping(material: Material, folder: Path, job: str) -> None:
    """The header of each frame, where one bit decides what all others mean."""
    whole = material.jobs[job][JOURNAL]
    dice, start = random.Random(job), 0
    for frame in split(whole):
        for position in dice.sample(range(PREFIX.size + CHECK.size + 4), 5):
            place = start + position
            changed = whole[:place] + bytes([whole[place] ^ (1 << dice.randrange(8))]) + whole[place + 1 :]
            path = lay_out(folder, {**material.jobs[job], JOURNAL: changed})
            resume_and_check(path, material)
        start += len(frame)


@pytest.mark.parametrize("job", ["early", "late", "complete"])
def test_damage_to_committed_chunks_is_never_resumed(material: Material, folder: Path, job: str) -> None:
    path = lay_out(folder, material.jobs[job])
    records = replay(journal_of(path)).records.tolist()
    assert len(records) > 3
    for _, _, address, size, _, _ in random.Random(job).sample(records, min(len(records), 12)):
        content = material.jobs[job][PARTIAL]
        damaged = content[:address] + flip(content[address : address + size], 0.5, 3) + content[address + size :]
        path = lay_out(folder, {**material.jobs[job], PARTIAL: damaged})
        assert vouches_wrongly(path)
        resume_and_check(path, material)


def test_undamaged_jobs_are_resumed(material: Material, folder: Path) -> None:
    """Or refusing everything would pass all tests above."""
    for files in material.jobs.values():
        assert resume_and_check(lay_out(folder, files), material) == "finished"
    assert all(len(split(files[JOURNAL])) > 2 for files in material.strangers.values())
