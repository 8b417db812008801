"""
Plan a run
==========

How many ranks are worth while? What will they wait for? Both can be said before a job is submitted, and without MPI.
"""

# %%
# The plan of a recording
# -----------------------
#
# ``parnwb plan`` opens a recording, reads no samples, and shows what each rank would do.

import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from parnwb.model import Site, Work, predict
from parnwb.recordings.demo import METADATA
from parnwb.recordings.made_recording import make_spikeglx_recording

recording = make_spikeglx_recording(Path("recording"), megabytes=60)
Path("session.yaml").write_text(METADATA)
command = ["plan", str(recording), "--metadata", "session.yaml", "--ranks", "8", "--chunks", "auto"]
print("$ parnwb", *command)
done = subprocess.run(
    [sys.executable, "-m", "parnwb", *command], capture_output=True, text=True, timeout=60, check=True
)
print(done.stdout)

# %%
# The model
# ---------
#
# Behind the predicted time is arithmetic. ``Work`` is what there is to do: here a recording of 500 GB, in chunks of
# 10 MB and of 1 MB. ``Site`` is what things cost; its defaults are estimates from two cores, and
# ``benchmarks/calibrate.py`` measures a site's own. This one has a file system that takes 200 GB/s.

site = Site(file_system_mbs=200_000, ranks_per_node=64, cores_per_node=64)
ranks = [2**power for power in range(15)]
figure, axes = plt.subplots(figsize=(8, 4))
for megabytes, style in {10: "-", 1: "--"}.items():
    found = [predict(Work(500e9, 500_000 // megabytes, number), site) for number in ranks]
    axes.loglog(ranks, [prediction.mbs / 1000 for prediction in found], f"{style}k", linewidth=1)
    for limit, colour in {"codec": "C0", "file system": "C1", "allocator": "C2", "start-up": "C3"}.items():
        points = [(n, p.mbs / 1000) for n, p in zip(ranks, found, strict=True) if p.limit == limit]
        label = limit if megabytes == 10 else None
        axes.plot(*zip(*points, strict=True) if points else ([], []), "o", color=colour, label=label)
axes.set_xlabel("ranks")
axes.set_ylabel("GB/s, uncompressed")
axes.set_ylim(0.1, 1000)
axes.legend(title="waits for", loc="lower right")
axes.set_title("500 GB in chunks of 10 MB (solid) and 1 MB (dashed)")
for number in (1, 64, 1024, 16384):
    prediction = predict(Work(500e9, 50_000, number), site)
    print(f"{number:5} ranks: {prediction.seconds:7.0f} s, waits for the {prediction.limit}")

# %%
# What the words mean, and what has been measured: :doc:`/explanation/scaling`.
