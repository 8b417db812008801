"""``WriteQueue``: which dataset is written before which. Pure functions of the layout, which all ranks share."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any, TypeVar

from parnwb.errors import PlanError
from parnwb.layout import DatasetSpec, FileLayout

Item = TypeVar("Item")
Place = Callable[[DatasetSpec], float]
Policy = str | Mapping[str, float] | Place
"""What a user says: a name of ``POLICIES``, ``{pattern of paths: number}``, or a function of a ``DatasetSpec``."""

POLICIES = ("file", "round-robin", "largest")
REMEDY = "Give 'file', 'round-robin', 'largest', {'/path/*': number}, or a function that takes a DatasetSpec"


@dataclass(frozen=True)
class WriteQueue:
    """The order in which ranks take the bulk datasets of a file.

    Parameters
    ----------
    turns
        Numbers of the datasets, in groups, ascending within each. A group is spread over all ranks by itself, and a
        rank comes to it when it is through with its share of the ones before.
    alternates
        Whether a rank takes one buffer of each dataset in turn, instead of one dataset after the other.
    commits
        Whether a commit is due as soon as all chunks of a group have been placed, but for the last group.
    """

    turns: tuple[tuple[int, ...], ...]
    alternates: bool = False
    commits: bool = False

    @property
    def datasets(self) -> tuple[int, ...]:
        """All datasets, in the order in which they are begun."""
        return tuple(number for turn in self.turns for number in turn)

    def arranged(self, streams: Mapping[int, Iterable[Item]]) -> Iterator[Item]:
        """Iterate over what there is of each dataset, each in its own order, in the order of the queue."""
        own = [streams[number] for number in self.datasets if number in streams]
        if self.alternates:
            yield from alternated(own)
            return
        for stream in own:
            yield from stream

    def to_json(self, layout: FileLayout) -> dict[str, Any]:
        """Return the queue as plain values, as ``parnwb plan --json`` prints it."""
        return {
            "turns": [[layout.datasets[number].path for number in turn] for turn in self.turns],
            "alternates": self.alternates,
            "commits": self.commits,
        }


def check_policy(policy: Policy) -> None:
    """Refuse what is no policy. Independent.

    Raises
    ------
    PlanError
        Neither a known name, nor a mapping of patterns to numbers, nor a function.
    """
    if isinstance(policy, Mapping):
        for pattern, place in policy.items():
            if not isinstance(pattern, str):
                raise PlanError(f"queue must have patterns of paths as keys, got {pattern!r}", remedy=REMEDY)
            _check_place(place, pattern)
    elif not (callable(policy) or (isinstance(policy, str) and policy in POLICIES)):
        raise PlanError(f"queue must be a known policy, a mapping or a function, got {policy!r}", remedy=REMEDY)


def described(policy: Policy) -> str | dict[str, float]:
    """Return what stands for a policy, with the same ``repr`` in every process that was given the same. Independent."""
    if isinstance(policy, str | Mapping):
        return policy if isinstance(policy, str) else dict(policy)
    kind = policy if hasattr(policy, "__qualname__") else type(policy)
    return f"the function {kind.__module__}.{kind.__qualname__}"


def write_queue(policy: Policy, layout: FileLayout) -> WriteQueue:
    """Return the queue that a policy makes of the datasets. Independent; a user's function is called here.

    Raises
    ------
    PlanError
        The policy is none, or the user's function failed or gave no number.
    """
    check_policy(policy)
    numbers = range(len(layout))
    if policy == "file":
        return WriteQueue((tuple(numbers),))
    if policy == "round-robin":
        return WriteQueue(tuple((number,) for number in numbers), alternates=True)
    if policy == "largest":
        sizes = [spec.nbytes for spec in layout]
        return WriteQueue(tuple((number,) for number in sorted(numbers, key=lambda number: -sizes[number])))
    place = _of_mapping(policy, layout) if isinstance(policy, Mapping) else policy
    assert callable(place)
    places = [_place(place, spec) for spec in layout]
    in_order = sorted(numbers, key=places.__getitem__)
    return WriteQueue(tuple(tuple(turn) for _, turn in groupby(in_order, key=places.__getitem__)), commits=True)


def alternated(streams: Iterable[Iterable[Item]]) -> Iterator[Item]:
    """Iterate over one item of each stream in turn, until all have run out."""
    running = [iter(stream) for stream in streams]
    while running:
        left = []
        for stream in running:
            try:
                item = next(stream)
            except StopIteration:
                continue
            yield item
            left.append(stream)
        running = left


def _of_mapping(policy: Mapping[str, float], layout: FileLayout) -> Place:
    """Return the function that finds the first pattern that matches a path; whatever none matches comes last."""
    idle = [pattern for pattern in policy if not any(fnmatchcase(spec.path, pattern) for spec in layout)]
    if idle:
        warnings.warn(
            f"queue: no bulk dataset has a path like {', '.join(idle)}; there are "
            f"{', '.join(spec.path for spec in layout) or 'none'}",
            stacklevel=3,
        )
    return lambda spec: next((place for pattern, place in policy.items() if fnmatchcase(spec.path, pattern)), math.inf)


def _place(place: Place, spec: DatasetSpec) -> float:
    try:
        found = place(spec)
    except Exception as error:
        raise PlanError(
            f"the function given as queue failed: {type(error).__name__}: {error}",
            where=spec.path,
            remedy="Let it take a DatasetSpec (path, shape, dtype, nbytes) and return a number; the smallest is first",
        ) from error
    _check_place(found, spec.path)
    return found


def _check_place(place: Any, where: str) -> None:
    try:
        good = not isinstance(place, str) and not math.isnan(place)
    except TypeError:
        good = False
    if not good:
        raise PlanError(
            f"queue must give each dataset a number, the smallest of which is first, got {place!r}",
            where=where,
            remedy=REMEDY,
        )
