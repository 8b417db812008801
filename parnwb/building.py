"""What is written, as the root authors it and as the others know it, agreed on by all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from parnwb import site
from parnwb.agreement import agree_on_changes, agree_on_content
from parnwb.authoring.bulk_rule import BulkRule
from parnwb.comm import Ranks
from parnwb.errors import AgreementError
from parnwb.growth import Growth
from parnwb.resident.gathering import Asking, answer
from parnwb.restore import Described, Earlier, describe, restore
from parnwb.settings import WriteSettings
from parnwb.sources import Source
from parnwb.target import Target

if TYPE_CHECKING:
    from hdmf.build import BuildManager
    from pynwb import NWBFile

    from parnwb.append import Opened
    from parnwb.authoring.bulk import Predicate
    from parnwb.authoring.export import Content
    from parnwb.authoring.skeleton import Authored, AuthoringOptions
    from parnwb.rewriting.rewriting import Rewriting


def build(
    ranks: Ranks,
    target: Target,
    content: Content | Rewriting | None,
    manager: BuildManager | None,
    settings: WriteSettings,
    arguments: Mapping[str, Any],
    earlier: Earlier | None,
    opened: Opened | None,
    growths: Sequence[Growth],
    asking: Asking,
) -> tuple[Authored | None, dict[str, Source]]:
    """Author the skeleton on the root, find the sources on the others, and agree on what is written. Collective.

    Returns
    -------
    skeleton
        On the root; None on all others.
    sources
        That this rank has, by path, but for those of ``growths``.

    Raises
    ------
    ParnwbError
        The same on all ranks; ``AgreementError`` if they do not have the same.
    """
    skeleton, own, signed = None, {}, None
    changed = opened is not None and agree_on_changes(ranks, opened)
    with ranks.agreed("building the NWBFile"):
        if ranks.is_root:
            if content is None and not growths and not changed:
                raise AgreementError("the root must have the NWBFile, got None", where="rank 0")
            from parnwb.authoring.skeleton import AuthoringOptions

            choice = site.choose_backend(settings.backend)
            options = AuthoringOptions(
                settings.rule,
                settings.compression,
                choice,
                arguments,
                asking,
                ranks.phases,
                settings.chunks,
                ranks.going_on,
            )
            with asking:
                skeleton = _authored(target, content, manager, options, earlier, opened, growths)
            agreed_already = {growth.path for growth in growths}
            own = {path: source for path, source in skeleton.sources.items() if path not in agreed_already}
            signed = skeleton.signature
        else:
            if content is not None:
                own, signed = _catalogue(cast("Content", content), manager, target, settings.rule, opened)
            answer(ranks, own.values())
    agree_on_content(ranks, signed)
    return skeleton, own


def _authored(
    target: Target,
    content: Content | Rewriting | None,
    manager: BuildManager | None,
    options: AuthoringOptions,
    earlier: Earlier | None,
    opened: Opened | None,
    growths: Sequence[Growth],
) -> Authored:
    """Return the skeleton. Independent; on the root, which alone needs what is imported here."""
    from pynwb import NWBFile

    from parnwb.authoring.skeleton import author
    from parnwb.authoring.table_lengths import check_table_lengths
    from parnwb.rewriting.rewriting import Rewriting

    if isinstance(content, NWBFile):
        check_table_lengths(content)
    if opened is not None:
        return opened.author(cast("NWBFile | None", content), options, growths)
    assert content is not None
    if isinstance(content, Rewriting):
        if earlier is None:
            return content.author(target.path, options)
        return restore(earlier, target, options, Described(content.sources, content.signature))
    manager = manager or default_manager()
    if options.backend.name == "zarr":
        from parnwb.stores.skeleton import author_store

        return author_store(content, target.path, manager, options)
    if earlier is None:
        return author(content, target.path, manager, options)
    return restore(earlier, target, options, describe(content, manager, target.path, options))


def default_manager() -> BuildManager:
    """Return pynwb's manager of the core types. Independent."""
    from pynwb import get_manager

    manager: BuildManager = get_manager()
    return manager


def _catalogue(
    content: Content, manager: BuildManager | None, target: Target, rule: BulkRule, opened: Opened | None
) -> tuple[dict[str, Source], dict[str, str]]:
    """Return sources and signature of a rank that is not the root. Independent."""
    from parnwb.authoring.bulk import bulk_sources, none_written, signature
    from parnwb.authoring.export import build_content
    from parnwb.authoring.skeleton import own_error

    is_written: Predicate = none_written if opened is None else opened.is_written
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the root, which builds the same, has warned
        try:
            builder = build_content(content, manager or default_manager(), target.path, rule)
        except Exception as error:
            raise own_error(error) from error
        return bulk_sources(builder, rule, is_written), signature(builder, rule, is_written)
