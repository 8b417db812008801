"""A record of a job such as tests cannot run: many ranks and datasets, long names, and names that look like markup."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from parnwb.finding import Finding
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.planning.plan import WritePlan
from parnwb.report.record import BINS, LANES, RankRecord, Record
from parnwb.report.stored import Contents, Stored
from parnwb.timeline import Binned
from parnwb.verification import Verdict

RANKS = 300
LONG = "/processing/ecephys_of_a_probe_with_a_very_long_name_indeed/ElectricalSeriesOfTheWholeSession/data"
MARKUP = "/acquisition/<script>alert('&')</script>/data"


def large_record() -> Record:
    """Return it; the same each time."""
    paths = [LONG, MARKUP, *(f"/acquisition/series{number}/data" for number in range(40))]
    specs = [DatasetSpec(path, (100_000, 96), (None, 96), "<i2", (1000, 96)) for path in paths]
    plan = WritePlan(FileLayout(tuple(sorted(specs, key=lambda spec: spec.path))), RANKS)
    ranks = tuple(rank_record(number, plan) for number in range(RANKS))
    datasets = tuple(
        Stored(
            path, (100_000, 96), "int16", (1000, 96), "shuffle, gzip 4", 19_200_000, 6_400_000, 100, (3.0,) * 100, 1, 9
        )
        for path in paths
    )
    contents = Contents(270_000_000, {"Session": "a b " * 60, "Identifier": "0" * 90}, datasets, 7, 810_000_000)
    environment = {"Command": f"parnwb convert {'/a/long/folder' * 12} {MARKUP}", "Ranks": "300 on " + "host, " * 8}
    place = Path("/lustre/project") / ("folder" * 20) / "session.nwb"
    return Record(
        place, plan.to_json(ranks=range(256)), ("direct", "as asked for"), 8e8, 7200.0, ranks, contents, environment
    )


def rank_record(number: int, plan: WritePlan) -> RankRecord:
    random = np.random.default_rng(number)
    phases = {
        "encoder: reading": random.random(BINS) * 20,
        "encoder: encoding": random.random(BINS) * 30,
        "writing": random.random(BINS) * 10,
        "waiting for addresses": random.random(BINS) * 40,
        "opening": np.full(BINS, 1.0),
    }
    seconds = {phase: float(values.sum()) for phase, values in phases.items()}
    shown = phases if number % (RANKS // LANES + 1) == 0 else {}
    raw = random.random(BINS) * 1e7
    spans = Binned(7200 / BINS, shown, raw, raw / 3, random.random(BINS) * 4e8)
    return RankRecord(f"node{number // 64:04}.cluster.example.org", seconds, spans, plan.projected_memory(number))


def long_verdict() -> Verdict:
    """Return a bad one with long findings."""
    slab = Hyperslab((0, 0), (1000, 96))
    findings = tuple(Finding(LONG, slab, "12 values differ from the source, first at (17, 3)") for _ in range(5))
    return Verdict(
        Path("/data/session.nwb"), findings, 42, 10**9, (LONG,), 12.0, 99, (Finding(MARKUP, None, "no unit"),)
    )
