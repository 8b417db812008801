"""Looking at where links lead costs little where many lead to the same file."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import h5py
from hdmf.build import DatasetBuilder, GroupBuilder

from parnwb.links import places


def test_circles_are_looked_for_once_in_each_file(tmp_path: Path) -> None:
    """A walk through all of a file, of which many datasets may be linked to."""
    for name in ("one.h5", "two.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            for number in range(5):
                file[f"data{number}"] = [number]
    with h5py.File(tmp_path / "one.h5") as one, h5py.File(tmp_path / "two.h5") as two:
        found = [*one.values(), *two.values()]
        root = GroupBuilder("root", datasets={str(n): DatasetBuilder(str(n), data) for n, data in enumerate(found)})
        with patch.object(places, "files_behind", wraps=places.files_behind) as walk:
            links = list(root.datasets.values())
            places.check_places(links, root, tmp_path / "out.nwb", export_source=None, is_appended_to=False)
    assert sorted(Path(call.args[0]).name for call in walk.call_args_list) == ["one.h5", "two.h5"]
