"""Tutorials run under mpiexec while pages are built: a comment ``# sphinx_gallery_ranks = 3`` says on how many ranks.

Sphinx-Gallery executes the blocks of a script one after another in Sphinx's own process, which is one rank. The one
function of it that does so is replaced here: the whole script is one MPI program (blocks.py), under a clock that ends
all of its processes, and what each block printed and drew is put where Sphinx-Gallery would have put it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mpi_launch import run_launcher, run_mpi
from sphinx.errors import ExtensionError
from sphinx_gallery import gen_rst
from sphinx_gallery.scrapers import figure_rst

TIMEOUT_SECONDS = 100
PROGRAM = Path(__file__).with_name("blocks.py")
ROOT = Path(__file__).parents[2]


def run_tutorials_under_mpiexec() -> None:
    """Take the place of what executes a script."""
    if not callable(getattr(gen_rst, "execute_script", None)):
        raise ExtensionError("sphinx_gallery.gen_rst.execute_script is no more: docs/_extensions/ranks.py replaces it")
    gen_rst.execute_script = execute_script


def execute_script(
    script_blocks: list[Any], script_vars: dict[str, Any], gallery_conf: dict[str, Any], file_conf: dict[str, Any]
) -> tuple[list[str], float]:
    """Return what is shown below each block, and the seconds that all took."""
    began = time.time()
    source = Path(script_vars["src_file"])
    codes = [(block.lineno, block.content) if block.type == "code" else None for block in script_blocks]
    with tempfile.TemporaryDirectory(prefix=f"{source.stem}-") as folder:
        results = Path(folder, "results")
        results.mkdir()
        run(source, codes, file_conf.get("ranks"), Path(folder), results)
        shown = [
            "" if code is None else below(results, number, script_vars, gallery_conf)
            for number, code in enumerate(codes)
        ]
    target = script_vars["target_file"]
    Path(f"{target}.md5").write_text(gen_rst.get_md5sum(target, mode="t"))
    script_vars |= {"passing": True, "memory_delta": 0, "example_globals": {}}
    return shown, time.time() - began


def run(source: Path, codes: list[Any], ranks: int | None, folder: Path, results: Path) -> None:
    """Run the blocks in a folder of their own: on ranks, or, for programs that start ranks themselves, on none."""
    (results / "codes.json").write_text(json.dumps(codes))
    work = folder / "work"
    work.mkdir()
    argv = [sys.executable, str(PROGRAM), str(source), str(results)]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # parnwb and mpiexec, as in an activated one
        "PYTHONPATH": f"{ROOT}:{ROOT / 'docs' / 'examples'}",
        "MPLBACKEND": "agg",
        "COLUMNS": "100",
    }
    if ranks is None:
        done = run_launcher(argv, timeout=TIMEOUT_SECONDS, env=environment, cwd=work)
    else:
        done = run_mpi(ranks, argv, timeout=TIMEOUT_SECONDS, env=environment, cwd=work)
    if done.returncode:
        raise ExtensionError(f"{source.name} failed on {ranks or 'no'} ranks:\n{done.stdout}\n{done.stderr}")


def below(results: Path, number: int, script_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Return figures and printed text of a block; text of all ranks, one after the other."""
    paths = []
    for figure in sorted(results.glob(f"{number}-figure-*.png")):
        paths.append(script_vars["image_path_iterator"].next())
        shutil.copy(figure, paths[-1])
    text = "".join(path.read_text() for path in sorted(results.glob(f"{number}-rank-*.txt")))
    text = text.replace(f"{results.parent}/work/", "")  # a reader's folder has another name
    figures = figure_rst(paths, gallery_conf["src_dir"]) if paths else ""
    printed = gen_rst.CODE_OUTPUT.format(gen_rst.indent(text.expandtabs(), " " * 4)) if text.strip() else ""
    return f"\n{figures}\n\n{printed}\n\n\n"
