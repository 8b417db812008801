"""What ranks must agree on before anything is written; if they do not, the first difference is named on all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from parnwb.comm import Ranks
from parnwb.errors import AgreementError
from parnwb.growth import Growth, are_written_by_all, check_growable, grown_sources, growth_of, rows_of
from parnwb.layout import FileLayout
from parnwb.resident.gathering import Asking, answer
from parnwb.restore import Samples, fingerprints
from parnwb.sources import Source
from parnwb.sources.sending import receive_sources

if TYPE_CHECKING:
    from parnwb.append import Opened


def agree_on_samples(
    ranks: Ranks,
    layout: FileLayout,
    sources: Mapping[str, Source],
    residents: Mapping[str, Source],
    asking: Asking,
    *,
    have_own: bool,
) -> Samples:
    """Return checksums of a sample of the data, and check that ranks with an NWBFile of their own agree. Collective.

    A rank whose array has other values, made at random perhaps, would have its share of the file filled with them.
    Data that are spread over ranks (``residents``) are sampled by the root alone, which asks the others.
    """
    with ranks.agreed("sampling the data"):
        samples = fingerprints(layout.without(residents), sources) if have_own else {}
        of_residents: Samples = {}
        if ranks.is_root:
            with asking:
                of_residents = fingerprints(layout.only(residents), residents)
        else:
            answer(ranks, residents.values())
    told = {path: f"data whose sample has the CRC-32C {', '.join(map(str, sums))}" for path, sums in samples.items()}
    agree_on_content(ranks, told if have_own else None)
    return {**samples, **of_residents}


def agree_on_changes(ranks: Ranks, opened: Opened) -> bool:
    """Tell whether the program has changed values of the existing file, which the root's view has. Collective.

    Parameters
    ----------
    opened
        This rank's view of the file.

    Raises
    ------
    AgreementError
        A rank has changed what the root has not, which would be lost. Changes on the root alone are all there are.
    """
    with ranks.agreed("looking at changes of the existing file"):
        mine = opened.changes
    changes = ranks.gather_all(mine)
    culprit = next((rank for rank, change in enumerate(changes) if change not in (None, changes[0])), None)
    if culprit is not None:
        theirs = "none" if changes[0] is None else "others"
        raise ranks.known_to_all(
            AgreementError(
                f"values of the existing file must be changed in the same way on all ranks, or on the root alone: rank "
                f"{culprit} has changed some, rank 0 {theirs}",
                remedy="Change them on every rank, or on rank 0; io.extend takes rows that all ranks write",
            )
        )
    return changes[0] is not None


def agree_on_growth(ranks: Ranks, opened: Opened, wanted: object, values: Any) -> Growth:
    """Return what a dataset of the existing file is to get. Collective.

    Parameters
    ----------
    opened
        This rank's view of the file.
    wanted
        As for ``Opened.dataset``.
    values
        The rows; None on any rank but the root.

    Raises
    ------
    ParnwbError
        The dataset cannot be extended by these rows, or ranks do not agree. The same on all ranks.
    """
    with ranks.agreed("looking at the dataset to extend"):
        dataset = opened.dataset(wanted)
        check_growable(dataset)
        if ranks.is_root and values is None:
            raise AgreementError("the root must have the rows, got None", where="rank 0")
        rows = None if values is None else rows_of(values, dataset)
        told = {} if rows is None else {dataset.name: f"rows of shape {rows.shape} {getattr(rows, 'dtype', '')}"}
    ranks.same({"dataset": dataset.name, "its shape": dataset.shape}, "Extend the same datasets on every rank")
    agree_on_content(ranks, told or None)
    shape = ranks.broadcast(None if rows is None else tuple(rows.shape))
    if not are_written_by_all(dataset):
        return Growth(dataset.name, tuple(dataset.shape), shape[0], values=rows)
    received = receive_sources(ranks, {} if rows is None else {dataset.name: rows}, have_own=rows is not None)
    kept = dataset.name in received.kept
    with ranks.agreed("planning the extension of a dataset"):
        growth = growth_of(dataset, shape, received.sources.get(dataset.name), kept=kept)
    if growth.spec is not None:
        layout = FileLayout((growth.spec,)) if growth.rows else FileLayout(())
        agree_on_samples(
            ranks, layout, grown_sources([growth]), {}, Asking(ranks), have_own=growth.source is not None
        )
    return growth


def agree_on_content(ranks: Ranks, content: dict[str, str] | None) -> None:
    """Check that every NWBFile says what the root's says. Collective.

    Raises
    ------
    AgreementError
        Names the first rank and field that differ, and both values.
    """
    text = None if content is None else json.dumps(content, sort_keys=True)
    digests = ranks.gather_all(None if text is None else hashlib.sha256(text.encode()).hexdigest())
    culprit = next((r for r, digest in enumerate(digests) if digest not in (None, digests[0])), None)
    if culprit is None:
        return
    reference = ranks.broadcast(content) or {}
    found = _first_difference(reference, content or {}) if ranks.rank == culprit else None
    field, there, here = next(item for item in ranks.gather_all(found) if item is not None)
    raise ranks.known_to_all(
        AgreementError(
            f"all ranks must be given the same NWBFile: at {field} rank 0 has {there}, rank {culprit} has {here}",
            remedy="Build it from the same values on every rank (broadcast what is random or a time of day), "
            "or pass None on all ranks but the root",
        )
    )


def _first_difference(reference: dict[str, str], content: dict[str, str]) -> tuple[str, str, str]:
    for field in sorted({*reference, *content}):
        there, here = reference.get(field, "nothing"), content.get(field, "nothing")
        if there != here:
            return field, there, here
    raise AssertionError("digests differ but no field does")  # pragma: no cover - would be a hash collision
