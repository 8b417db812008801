"""Tables, plots and one page from the lines of any number of runs.

    python benchmarks/summary.py bench-results/*.jsonl [--folder bench-results/summary]

Prints the tables as Markdown; with matplotlib (`pip install 'parnwb[bench]'`) writes the plots as PNG and a page,
`index.html`, that holds them.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import goals
from measure import MB, median, table, with_spread

Line = Mapping[str, Any]
Groups = dict[tuple[Any, ...], list[Line]]
SMALL_PHASE = 0.02  # of the run; smaller ones are shown together
LEAST_HEIGHT, BAR_HEIGHT = 4.5, 0.18  # inches of a plot, and of one of its bars


def group(lines: Sequence[Line], *keys: str) -> Groups:
    """Return lines that have the same values of ``keys``, in the order of the first of each."""
    groups: Groups = {}
    for line in lines:
        groups.setdefault(tuple(_value(line, key) for key in keys), []).append(line)
    return groups


def _value(line: Line, key: str) -> Any:
    if key == "kind":
        return line["recording"]["kind"]
    return round(line["recording"]["raw_bytes"] / MB) if key == "megabytes" else line[key]


def good(lines: Sequence[Line]) -> list[Line]:
    """Return the lines of runs that wrote a recording and did not fail."""
    return [line for line in lines if "error" not in line and "recording" in line]


def rates(lines: Sequence[Line]) -> list[float]:
    """Return MB/s of each run."""
    return [line["recording"]["raw_bytes"] / MB / line["seconds"] for line in lines]


# -- tables ----------------------------------------------------------------------------------------------------


def text(lines: Sequence[Line]) -> str:
    """Return all tables, in Markdown, and what failed."""
    parts = [provenance_of(lines)]
    for (study, kind, folder), own in group(good(lines), "study", "kind", "folder").items():
        parts.append(f"## {study}: {kind}, {folder}\n\n{writers(own)}")
        if study in ("strong", "weak"):
            parts.append(f"Parallel efficiency ({study} scaling):\n\n{efficiencies(own, study)}")
        if phased := [line for line in own if line.get("phases")]:
            parts.append(f"Seconds by phase, the largest of all ranks, medians:\n\n{phase_table(phased)}")
    failures = [line for line in lines if "error" in line]
    failed = {(line["case"], line.get("recording", {}).get("kind", "no recording"), line["error"]) for line in failures}
    parts += [f"FAILED: {case}, {kind}:\n{error}" for case, kind, error in sorted(failed)]
    return "\n\n".join(parts)


def provenance_of(lines: Sequence[Line]) -> str:
    """Return where the figures come from, in words."""
    said = []
    for line in lines:
        own, machine = line["provenance"], line["provenance"]["machine"]
        said.append(
            f"{machine['processor']}, {machine['cores allowed']} of {machine['cores']} cores, {machine['system']}; "
            f"revision {own['revision'] or 'unknown'}; fsync {own['fsync']}; source {own['source']}"
        )
    loads = [line["provenance"]["load"] for line in lines]
    known: dict[str, dict[str, None]] = {}
    for line in lines:
        for name, value in line.get("versions", {}).items():
            known.setdefault(name, {})[value] = None
    versions = ", ".join(f"{name} {' and '.join(values)}" for name, values in known.items())
    load = f"Load of the machine {min(loads, default=0)} to {max(loads, default=0)}"
    return "\n\n".join([*dict.fromkeys(said), f"{load}: absolute figures are of this machine in this hour.", versions])


def writers(lines: Sequence[Line]) -> str:
    """Return the table of all writers of one recording on one file system."""
    pynwb = {
        size: median([line["seconds"] for line in own if line["case"] == "pynwb, gzip-4"])
        for (size,), own in group(lines, "megabytes").items()
    }
    rows = []
    for (case, processes, size), own in group(lines, "case", "processes", "megabytes").items():
        first = own[0]
        coding = f" [{first['coding']}]" if first.get("coding") else ""
        stored = f"{first['stored_bytes'] / MB:.1f}" if first["stored_bytes"] else ""
        seconds = [line["seconds"] for line in own]
        times = f"{pynwb[size] / median(seconds):.1f}" if pynwb[size] == pynwb[size] else ""
        peak = max(max(line["memory"]) for line in own) / MB
        whole = with_spread([line["whole_seconds"] for line in own], 1)
        note = first.get("note", "")
        rows.append([case + coding, str(processes), f"{size}", with_spread(rates(own)), times, stored, f"{peak:.0f}"])
        rows[-1] += [whole, str(len(own)), note]
    headings = ["writer", "processes", "MB", "MB/s (spread)", "times pynwb gzip-4", "file MB", "RssAnon MB a process"]
    return table([*headings, "whole command s", "n", "note"], rows)


def efficiencies(lines: Sequence[Line], study: str) -> str:
    """Return parallel efficiency by processes; the smallest number of them is 1."""
    found = efficiency(lines, study)
    numbers = sorted({number for by_number in found.values() for number in by_number})
    rows = [[case, *(f"{own[n]:.2f}" if n in own else "" for n in numbers)] for case, own in found.items()]
    return table(["writer", *map(str, numbers)], rows)


def efficiency(lines: Sequence[Line], study: str) -> dict[str, dict[int, float]]:
    """Return the rate of each process relative to that with the fewest, by case and number of processes."""
    found: dict[str, dict[int, float]] = {}
    for (case,), own in group(lines, "case").items():
        rate = {number: median(rates(same)) / number for (number,), same in group(own, "processes").items()}
        found[case] = {number: rate[number] / rate[min(rate)] for number in sorted(rate)}
    return found


def phases(lines: Sequence[Line], rank: int | None = None) -> dict[str, float]:
    """Return seconds by phase, the median of all runs; what is small counts as other.

    Parameters
    ----------
    rank
        Whose, which add up to the run; None for the largest of all ranks, which do not.
    """
    ranks = [line["phases"] if rank is None else line["phases"][rank : rank + 1] for line in lines]
    names = dict.fromkeys(name for own in ranks for rank in own for name in rank)
    seconds = {name: median([max(rank.get(name, 0.0) for rank in own) for own in ranks]) for name in names}
    least = SMALL_PHASE * median([line["seconds"] for line in lines])
    large = {name: value for name, value in seconds.items() if value >= least}
    return {**large, "other": sum(value for name, value in seconds.items() if name not in large)}


def phase_table(lines: Sequence[Line]) -> str:
    """Return a table of phases with a column for each writer and number of processes."""
    columns = {key: phases(own) for key, own in group(lines, "case", "processes", "megabytes").items()}
    names = dict.fromkeys(name for column in columns.values() for name in column if name != "other")
    rows = [
        [name, *(f"{column[name]:.3f}" if name in column else "" for column in columns.values())]
        for name in [*names, "other"]
    ]
    return table(["phase", *(f"{case}, {processes} x, {size} MB" for case, processes, size in columns)], rows)


# -- plots -----------------------------------------------------------------------------------------------------


def plots(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Draw all plots that the lines allow, as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    made = []
    for (study, kind, place), own in group(good(lines), "study", "kind", "folder").items():
        title = f"{study}: {kind}, {place}"
        drawn = {"throughput": _throughput, "memory": _memory}
        if study in ("strong", "weak"):
            drawn["efficiency"] = _efficiency
        if any(line.get("phases") for line in own):
            drawn["phases"] = _phases
        for name, draw in drawn.items():
            made.append(_drawn(folder / f"{study}-{kind}-{place}-{name}.png", title, draw, own))
    return made


def _drawn(path: Path, title: str, draw: Any, lines: Sequence[Line]) -> Path:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, LEAST_HEIGHT), layout="constrained")
    draw(axes, lines)
    axes.set_title(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _by_ranks(axes: Any, lines: Sequence[Line], values: Any, label: str) -> dict[str, str] | None:
    """Draw a line for each case over processes, with the spread of its runs; bars where there is one number only.

    Returns the colours of the lines by case; None where there are bars.
    """
    if len({line["processes"] for line in lines}) < 2 or not any(line["study"] in ("strong", "weak") for line in lines):
        groups = group(lines, "case", "processes")
        middles = [median(values(own)) for own in groups.values()]
        low = [middle - min(values(own)) for middle, own in zip(middles, groups.values(), strict=True)]
        high = [max(values(own)) - middle for middle, own in zip(middles, groups.values(), strict=True)]
        axes.barh([f"{case} ({number})" for case, number in groups], middles, xerr=[low, high], capsize=2)
        axes.invert_yaxis()
        axes.set_xlabel(label)
        return None
    colours = {}
    for (case,), own in group(lines, "case").items():
        by_number = sorted((number, values(same)) for (number,), same in group(own, "processes").items())
        numbers = [number for number, _ in by_number]
        (drawn,) = axes.plot(numbers, [median(found) for _, found in by_number], marker="o", label=case)
        colours[case] = drawn.get_color()
        axes.fill_between(numbers, [min(f) for _, f in by_number], [max(f) for _, f in by_number], alpha=0.2)
    axes.set(xlabel="processes", ylabel=label, xticks=sorted({line["processes"] for line in lines}))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7)
    return colours


def _throughput(axes: Any, lines: Sequence[Line]) -> None:
    _by_ranks(axes, lines, rates, "MB/s")


def _memory(axes: Any, lines: Sequence[Line]) -> None:
    """Draw the process that takes most, and a dot for each of the others."""
    shown = _by_ranks(axes, lines, lambda own: [max(line["memory"]) / MB for line in own], "RssAnon of a process, MB")
    for (case, number), own in group(lines, "case", "processes").items():
        each = [median(peaks) / MB for peaks in zip(*(line["memory"] for line in own), strict=False)]
        if shown is None:
            axes.plot(each, [f"{case} ({number})"] * len(each), "k.", markersize=4)
        else:
            axes.plot([number] * len(each), each, ".", color=shown[case], markersize=4)


def _efficiency(axes: Any, lines: Sequence[Line]) -> None:
    for case, own in efficiency(lines, str(lines[0]["study"])).items():
        axes.plot(list(own), list(own.values()), marker="o", label=case)
    axes.axhline(1.0, color="grey", linewidth=0.5)
    axes.set(xlabel="processes", ylabel="parallel efficiency", ylim=(0, None))
    axes.legend(fontsize=7)


def _phases(axes: Any, lines: Sequence[Line]) -> None:
    """Draw what each rank's seconds consist of; its thread that encodes runs beside the other and has its own bar."""
    bars: dict[str, dict[str, float]] = {}
    for (case, number), own in group([one for one in lines if one.get("phases")], "case", "processes").items():
        for rank in range(min(len(line["phases"]) for line in own)):
            found, name = phases(own, rank), f"{case} ({number}), rank {rank}"
            beside = {phase: value for phase, value in found.items() if phase.startswith("encoder: ")}
            bars[name] = {phase: value for phase, value in found.items() if phase not in beside}
            if beside:
                bars[f"{name}: encoder"] = beside
    axes.figure.set_figheight(max(LEAST_HEIGHT, BAR_HEIGHT * len(bars)))
    left = dict.fromkeys(bars, 0.0)
    names = dict.fromkeys(name for bar in bars.values() for name in bar)
    for number, name in enumerate(names):
        widths = [bar.get(name, 0.0) for bar in bars.values()]
        looks = {"color": f"C{number % 10}", "hatch": "/" * (number // 10 * 3)}
        axes.barh(list(bars), widths, left=list(left.values()), label=name, **looks)
        left = {key: left[key] + width for key, width in zip(left, widths, strict=True)}
    axes.invert_yaxis()
    axes.set_xlabel("seconds of a rank")
    axes.tick_params(axis="y", labelsize=7)
    axes.figure.legend(loc="outside lower center", fontsize=7, ncols=4)


# -- the page --------------------------------------------------------------------------------------------------


def page(lines: Sequence[Line], images: Sequence[Path]) -> str:
    """Return one page of HTML that needs no other file."""
    shown = "\n".join(
        f'<figure><img alt="{html.escape(path.stem)}" '
        f'src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"></figure>'
        for path in images
    )
    tables = [goals.table_of(lines)] if any(line["study"] == "goals" for line in lines) else []
    body = "\n".join(_as_html(part) for part in [*tables, text(lines)])
    style = "body{font:14px sans-serif;margin:2em;max-width:75em}td,th{padding:.2em .6em;text-align:left}"
    style += "tr:nth-child(even){background:#eee}img{max-width:100%}pre{white-space:pre-wrap}"
    head = f'<meta charset="utf-8"><title>parnwb benchmarks</title><style>{style}</style>'
    return f"<!doctype html><html><head>{head}</head><body><h1>parnwb benchmarks</h1>\n{body}\n{shown}</body></html>\n"


def _as_html(markdown: str) -> str:
    parts = []
    for block in markdown.split("\n\n"):
        if block.startswith("|"):
            rows = [[html.escape(cell.strip()) for cell in row.strip("|").split("|")] for row in block.splitlines()]
            head = "".join(f"<th>{cell}</th>" for cell in rows[0])
            rest = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows[2:])
            parts.append(f"<table><tr>{head}</tr>{rest}</table>")
        elif block.startswith("## "):
            parts.append(f"<h2>{html.escape(block[3:])}</h2>")
        else:
            parts.append(f"<pre>{html.escape(block)}</pre>")
    return "\n".join(parts)


def read(paths: Sequence[Path]) -> list[Line]:
    """Return the lines of all files."""
    return [json.loads(line) for path in paths for line in path.read_text().splitlines() if line]


def main() -> None:
    """Read, print tables, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--folder", type=Path, default=Path("bench-results/summary"), help="for plots and page")
    arguments = parser.parse_args()
    lines = read(arguments.results)
    print(text(lines))
    if any(line["study"] == "goals" for line in lines):
        print("\n" + goals.table_of(lines))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    images = plots(lines, arguments.folder)
    (arguments.folder / "index.html").write_text(page(lines, images))
    print(f"\n{len(images)} plots and index.html in {arguments.folder}")


if __name__ == "__main__":
    main()
