"""One job at a time: who gets a lock, who is refused, and what is left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parnwb.errors import TargetError
from parnwb.target import lock as locks
from parnwb.target import process
from parnwb.target.lock import Holder, Lock
from parnwb.target.permissions import Permissions
from parnwb.target.process import Place, Process

NOISE = random.Random(1).randbytes(100)
HOLD = """
import sys, time, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from parnwb.target.lock import Lock
from parnwb.target.process import Process
path = Path(sys.argv[1])
if len(sys.argv) > 2:
    while time.time() < float(sys.argv[2]): pass
try:
    lock = Lock(path, Path(str(path) + ".gone"))
    lock.take([Process.this()])
except Exception as error:
    print(error, flush=True)
else:
    lock.check_ours()
    print("taken", flush=True)
    sys.stdin.readline()
    lock.check_ours()
    lock.release()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.nwb.lock"


def at(path: Path) -> Lock:
    return Lock(path, path.with_name("out.nwb.partial.lost"))


def take(path: Path, *others: Process, **keywords: Any) -> Lock:
    lock = at(path)
    lock.take([Process.this(), *others], **keywords)
    return lock


def started(path: Path, *more: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    argv = [*prefix, sys.executable, "-c", HOLD, str(path), *more]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def first_line(job: subprocess.Popen[str]) -> str:
    assert job.stdout is not None
    return job.stdout.readline().strip()


@contextmanager
def holding(path: Path, prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lock."""
    job = started(path, prefix=prefix)
    try:
        assert first_line(job) == "taken"
        yield job
    finally:
        job.kill()
        job.communicate()


def left_behind(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Leave a lock of this process, which ended as it were, changed."""
    lock = take(path)
    content = json.loads(path.read_text())
    lock.release()
    change(content)
    path.write_text(json.dumps(content))


def test_what_it_says_and_that_it_goes(path):
    lock = take(path)
    head = json.loads(path.read_text())
    assert head["places"][0]["processes"][0][0] == os.getpid()
    assert head["places"][0]["boot"] and head["places"][0]["host"] and head["since"] and head["token"]
    lock.check_ours()
    assert os.listdir(path.parent) == [path.name]
    lock.release()
    lock.release()
    assert os.listdir(path.parent) == []
    lock.check_ours()  # has none
    take(path).release()


def test_another_job_is_refused_and_told_who_has_it(path):
    with holding(path) as job, pytest.raises(TargetError) as caught:
        take(path)
    said = str(caught.value)
    assert f"process {job.pid} on host" in said and "last heartbeat" in said and "--break-lock" in said
    assert str(path) in said and "dead" not in said


def test_this_process_cannot_have_it_twice(path):
    lock = take(path)
    with pytest.raises(TargetError, match="another job is writing"):
        take(path)
    lock.check_ours()
    lock.release()


def test_trying_out_refuses_what_taking_would_and_changes_nothing(path):
    """Of a lock that is held, one that was left behind, and none."""
    lock = at(path)
    lock.try_out([Process.this()])
    assert not list(path.parent.iterdir())
    with holding(path) as job:
        before = path.read_bytes()
        with pytest.raises(TargetError, match=rf"another job is writing .* process {job.pid} .* heartbeat \d+ s ago"):
            lock.try_out([Process.this()])
        lock.try_out([Process.this()], break_lock=True)
        job.kill()
        job.wait()
        lock.try_out([Process.this()])
        assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_long_silence_is_mentioned(path):
    with holding(path):
        before = time.time() - 5000
        os.utime(path, (before, before))
        with pytest.raises(TargetError, match=r"last heartbeat (49\d\d|50\d\d) s ago .*may be dead"):
            take(path)


def test_heartbeat(path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.02)
    lock = take(path)
    os.utime(path, (0, 0))
    deadline = time.monotonic() + 10
    while path.stat().st_mtime < time.time() - 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    lock.release()
    assert time.monotonic() < deadline
    path.write_text("of another")
    os.utime(path, (0, 0))
    time.sleep(0.1)
    assert path.stat().st_mtime == 0, "it goes on when the lock is another's"


def test_a_killed_holder_is_followed_with_a_warning(path):
    with holding(path) as job:
        job.send_signal(signal.SIGKILL)
        job.wait()
        with pytest.warns(UserWarning, match=f"taken over: process {job.pid} on host"):
            lock = take(path)
    assert os.listdir(path.parent) == [path.name], "nobody is left who could write"
    lock.release()


def test_a_killed_holder_that_nobody_has_waited_for(path):
    """A zombie has an id and a start, but does nothing."""
    with holding(path) as job:
        job.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, job.pid, os.WEXITED | os.WNOWAIT)
        with pytest.warns(UserWarning, match="taken over"):
            take(path).release()


def test_a_stopped_holder_is_alive(path):
    with holding(path) as job:
        job.send_signal(signal.SIGSTOP)
        with pytest.raises(TargetError, match="another job"):
            take(path)


@pytest.mark.filterwarnings("ignore:the lock of")
def test_a_process_of_the_same_number_is_another(path):
    with holding(path):
        content = json.loads(path.read_text())
        content["places"][0]["processes"][0][1] -= 1
        path.write_text(json.dumps(content))
        take(path).release()


def change_place(**changes: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["places"][0].update(changes)


@pytest.mark.filterwarnings("ignore:the lock of")
def test_this_machine_before_its_last_start(path, monkeypatch):
    known = replace(Place.here(), machine="one of its own")  # which not every container has
    monkeypatch.setattr(process, "_here", lambda: known)
    left_behind(path, change_place(boot="another", machine=known.machine))
    take(path).release()
    assert not os.listdir(path.parent)


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "elsewhere", "boot": "another"},
        {"boot": "another", "machine": "another"},
        {"boot": "another", "machine": ""},
        {"namespace": "pid:[4026539999]"},
        {"boot": "another", "namespace": "pid:[4026539999]"},
        {"boot": ""},
    ],
)
def test_nothing_is_known_of_processes_elsewhere(path, changes):
    left_behind(path, change_place(**changes))
    with pytest.raises(TargetError, match="another job"):
        take(path)
    with pytest.warns(UserWarning, match="taken over"):
        lock = take(path, break_lock=True)
    assert path.with_name("out.nwb.partial.lost").exists()
    lock.release()


@pytest.mark.parametrize("kill", [False, True])
def test_a_container_is_another_host(path, kill):
    """The same kernel, but process ids of its own."""
    prefix = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    if subprocess.run([*prefix, "true"], capture_output=True, timeout=20).returncode:
        pytest.skip("namespaces are refused here; they need root")
    with holding(path, prefix) as job:
        if kill:
            job.kill()
            job.wait()
        with pytest.raises(TargetError, match="another job is writing.*process 1 on host"):
            take(path)


@pytest.mark.parametrize(
    ("job", "restarts", "taken"), [("77", "1", True), ("77", "0", False), ("77", "", False), ("78", "1", False)]
)
@pytest.mark.filterwarnings("ignore:the lock of")
def test_a_requeued_slurm_job_follows_itself(path, monkeypatch, job, restarts, taken):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    left_behind(path, change_place(host="node1", boot="another"))
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    if not taken:
        with pytest.raises(TargetError, match="SLURM job 77, process"):
            take(path)
        return
    lock = take(path)
    assert path.with_name("out.nwb.partial.lost").exists(), "its first node may come back"
    lock.release()


@pytest.mark.filterwarnings("ignore:the lock of")
def test_a_rank_that_outlives_its_root_may_write(path):
    with holding(path) as job:
        head = json.loads(path.read_text())
        rank = Process(Place.here(), *head["places"][0]["processes"][0])
        take(path.with_name("other.lock"), rank).release()
    other = subprocess.Popen(["sleep", "60"])
    try:
        started = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[19]
        left_behind(path, lambda content: content["places"][0]["processes"].append([other.pid, int(started)]))
        take(path).release()
        assert path.with_name("out.nwb.partial.lost").exists()
    finally:
        other.kill()
        other.wait()
    assert not rank.has_ended() or job.poll() is not None


def test_a_lock_that_was_broken(path):
    lock = take(path)
    os.unlink(path)
    with pytest.raises(TargetError, match="lock of this job was broken"):
        lock.check_ours()
    with holding(path) as job:
        with pytest.raises(TargetError, match=f"broken by process {job.pid}"):
            lock.check_ours()
        lock.release()
        assert path.exists(), "the other's lock stays"


def test_a_folder_that_is_gone_is_not_taken_for_another_job(tmp_path):
    folder = tmp_path / "session"
    folder.mkdir()
    lock = take(folder / "out.nwb.lock")
    folder.rename(tmp_path / "renamed")
    with pytest.raises(TargetError, match=r"the output folder was removed or renamed.*put it back and resume"):
        lock.check_ours()
    lock.release()


def test_a_child_does_not_release(path):
    lock = take(path)
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    lock.check_ours()
    lock.release()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"token": "../../x"}', b"{}", NOISE, b"[" * 100_000]
)
def test_a_damaged_lock_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(TargetError, match="does not say who holds it.*--break-lock"):
        take(path)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]
    with pytest.warns(UserWarning, match="not known whose"):
        take(path, break_lock=True).release()


def test_a_name_from_a_lock_cannot_lead_elsewhere(path):
    left_behind(path, lambda content: content.update(token="/../victim"))
    assert Holder.from_bytes(path.read_bytes()) is None


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo"])
@pytest.mark.filterwarnings("ignore:the lock of")
def test_what_is_no_file_is_not_followed(path, kind):
    victim = path.with_name("victim")
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(victim)
        if kind == "link":
            victim.write_text("precious")
    with pytest.raises(TargetError, match="does not say who holds it"):
        take(path)
    take(path, break_lock=True).release()
    assert victim.read_text() == "precious" if kind == "link" else not victim.exists()


@pytest.mark.parametrize("stale", [False, True])
def test_one_of_many_wins(path, stale):
    """They begin at the same moment, at nothing or at a lock that was left behind; many times."""
    for _ in range(4):
        if stale:
            with holding(path) as job:
                job.kill()
                job.wait()
        begin = str(time.time() + 1.2)
        jobs = [started(path, begin) for _ in range(6)]
        said = [first_line(job) for job in jobs]
        for job in jobs:
            job.communicate("\n", timeout=30)
        assert said.count("taken") == 1, said
        assert all(line == "taken" or "another job" in line for line in said), said
        assert [job.returncode for job in jobs] == [0] * 6
        assert os.listdir(path.parent) == []


@pytest.mark.filterwarnings("ignore:the lock of")
def test_what_others_left_on_their_way_goes(path):
    left_behind(path, lambda content: None)
    claim = path.with_name(f"{path.name}.{json.loads(path.read_text())['token']}")
    os.link(path, claim)
    other = [path.with_name(f"{path.name}.{ending}") for ending in ("0123abcd.new", "0123abcd.0123abcd")]
    kept = [path.with_name(name) for name in (f"{path.name}.txt", f"{path.name}.0123abcd.nwb", "out.nwb")]
    for file in other + kept:
        file.write_text("")
    lock = take(path)
    assert sorted(path.parent.iterdir()) == sorted([path, *kept])
    lock.release()


def test_file_systems_without_links(path, monkeypatch):
    def refuse(*arguments: object, **keywords: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    lock = take(path)
    lock.check_ours()
    with pytest.raises(TargetError, match="another job"):
        take(path)
    assert os.listdir(path.parent) == [path.name]
    lock.release()
    assert os.listdir(path.parent) == []


def test_it_is_no_more_open_than_the_output(path):
    like = Permissions(0o640, os.getgid())
    lock = take(path, like=like)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    lock.release()


def test_many_ranks_on_many_hosts_come_back_as_they_were():
    ranks = [Process(Place(f"n{n // 100}", f"b{n // 100}", "m", "pid:[1]"), n, 7 * n) for n in range(10_000)]
    holder = Holder.of(ranks)
    content = holder.to_bytes()
    assert Holder.from_bytes(content) == holder
    assert "process 0 and 9999 more on host n0" in str(holder)
