"""Errors say rule, place and remedy, and are the same after a journey to another rank."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from parnwb import errors
from parnwb.errors import ParnwbError, RemoteError, SourceError, StorageError

FAMILY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ParnwbError)]


def test_family_is_complete():
    assert {ParnwbError, RemoteError, SourceError, StorageError, errors.ResumeError, errors.Interrupted} < set(FAMILY)
    defined = {item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)}
    assert defined == set(FAMILY)


@pytest.mark.parametrize(
    ("where", "remedy", "text"),
    [
        (None, None, "rule, value"),
        ("/a", None, "rule, value [at /a]"),
        (None, "Do this", "rule, value. Do this"),
        ("/a", "Do this", "rule, value [at /a]. Do this"),
    ],
)
def test_text_is_rule_place_remedy(where, remedy, text):
    assert str(ParnwbError("rule, value", where=where, remedy=remedy)) == text


@pytest.mark.parametrize("kind", FAMILY)
@pytest.mark.parametrize("travel", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_every_kind_travels_whole(kind, travel):
    error = kind("message: µV", where="/acquisition/x[0:3]", remedy="Look")
    arrived = travel(error)
    assert type(arrived) is kind
    assert (arrived.message, arrived.where, arrived.remedy) == ("message: µV", "/acquisition/x[0:3]", "Look")
    assert str(arrived) == str(error)


def test_place_added_later_travels_too():
    error = SourceError("broken")
    error.where = "/x[0:1]"
    assert str(pickle.loads(pickle.dumps(error))) == "broken [at /x[0:1]]"


def test_every_kind_is_documented():
    assert all(kind.__doc__ for kind in FAMILY)
