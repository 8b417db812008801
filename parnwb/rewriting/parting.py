"""``Parting``: which large things of a file can be in files of their own, and which must stay together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import h5py

from parnwb.errors import ParnwbError
from parnwb.rewriting.item import Item, Kind
from parnwb.rewriting.names import parted
from parnwb.rewriting.references import key_of, reference_attributes, references_in, target_of, values_of
from parnwb.rewriting.survey import Survey
from parnwb.rewriting.types import holds, is_reference


@dataclass(frozen=True)
class Parting:
    """The large things of a file: series, tables, or datasets that are in neither.

    Parameters
    ----------
    together
        Paths of things that refer to each other, which one file must have.
    staying
        Those to which something refers that stays: HDF5's references do not lead out of a file.
    """

    together: tuple[tuple[str, ...], ...]
    staying: tuple[str, ...]

    @classmethod
    def of(cls, found: Survey) -> Parting:
        """Return what a file can be parted into. Independent."""
        things = _outermost(sorted({_thing(found, item) for item in found.bulk}))
        group = {thing: {thing} for thing in things}
        staying: set[str] = set()
        for owner, target in _references(found, things):
            if owner is None:
                staying.add(target)
            elif owner in group and target in group and group[owner] is not group[target]:
                joined = group[owner] | group[target]
                for thing in joined:
                    group[thing] = joined
        stays = {thing for thing in things if group[thing] & staying}
        apart = {tuple(sorted(group[thing])) for thing in things if thing not in stays}
        return cls(tuple(sorted(apart)), tuple(sorted(stays)))

    def named(self, stem: str, wanted: Mapping[str, Sequence[str]] | None) -> dict[str, tuple[str, ...]]:
        """Return what each part has, by the part's name. Independent.

        Parameters
        ----------
        stem
            With which names begin that are made here.
        wanted
            By the part's name, patterns of paths; None for a part for each thing.

        Raises
        ------
        ParnwbError
            A pattern matches nothing, or parts things that must stay together.
        """
        if wanted is None:
            return _names(self.together, stem)
        chosen: dict[str, tuple[str, ...]] = {}
        taken: set[str] = set()
        for name, patterns in wanted.items():
            for pattern in patterns:
                groups = [one for one in self.together if any(fnmatchcase(path, pattern) for path in one)]
                self._check(pattern, groups)
                new = [path for group in groups for path in group if path not in taken]
                taken.update(new)
                chosen[name] = (*chosen.get(name, ()), *new)
        return {name: paths for name, paths in chosen.items() if paths}

    def _check(self, pattern: str, groups: Sequence[tuple[str, ...]]) -> None:
        if not groups:
            can = ", ".join(path for group in self.together for path in group) or "none"
            must = f"; what others refer to must stay: {', '.join(self.staying)}" if self.staying else ""
            raise ParnwbError(
                f"a pattern must match something large that can be in a file of its own, {pattern!r} matches none",
                remedy=f"There are {can}{must}",
            )


def _thing(found: Survey, item: Item) -> str:
    """Return the path of the typed group that a dataset is directly in, or its own."""
    parent, _ = parted(item.path)
    group = h5py.h5o.open(found.file.id, parted(item.at)[0].encode("utf-8", "surrogateescape"))
    return parent if parent != "/" and h5py.h5a.exists(group, b"neurodata_type") else item.path


def _outermost(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if not any(path.startswith(f"{other}/") for other in paths)]


def _within(path: str, things: Sequence[str]) -> str | None:
    return next((thing for thing in things if path == thing or path.startswith(f"{thing}/")), None)


def _references(found: Survey, things: Sequence[str]) -> list[tuple[str | None, str]]:
    """Return the thing that refers, or None, and the thing referred to; those within one thing are left out."""
    pairs = set()
    for item in found.items:
        if item.kind not in (Kind.GROUP, Kind.BULK, Kind.COPIED, Kind.VALUES):
            continue
        owner = _within(item.path, things)
        for place in _targets(found, item, item.opened):
            target = _within(place, things)
            if target is not None and target != owner:
                pairs.add((owner, target))
    return sorted(pairs, key=str)


def _targets(found: Survey, item: Item, thing: Any) -> set[str]:
    owners = [h5py.h5a.open(thing, name) for name in reference_attributes(thing)]
    if isinstance(thing, h5py.h5d.DatasetID) and holds(thing.get_type(), is_reference):
        owners.append(thing)
    targets = (target_of(one, item.file) for owner in owners for one in references_in(values_of(owner)))
    keys = {key_of(target) for target in targets if target is not None}
    return {found.places[key] for key in keys if key in found.places}


def _names(groups: Sequence[tuple[str, ...]], stem: str) -> dict[str, tuple[str, ...]]:
    names: dict[str, tuple[str, ...]] = {}
    for group in groups:
        last = group[0].rpartition("/")[2].replace(" ", "_")
        name, number = f"{stem}_{last}.nwb", 2
        while name in names:
            name, number = f"{stem}_{last}_{number}.nwb", number + 1
        names[name] = group
    return names
