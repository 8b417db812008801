"""References in stores, which hdmf-zarr pickles: read without running what a store says should be run.

numcodecs refuses to decode pickles unless a process opts in, because they can execute any code. Nothing is opted into
here: while a store is read its pickles are decoded by an unpickler that makes only notes of what is wanted, and the
arrays and references are made from these. numpy's own way of unpickling trusts what it is given: a pickle can have it
take bytes for the addresses of objects.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from numcodecs.pickles import Pickle

MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy._core.numeric", "numpy.core.numeric")
REFERENCE = ("hdmf_zarr.utils", "ZarrReference")
REFERENCE_KEYS = {"source", "path", "object_id", "source_object_id"}
ELEMENT = re.compile(r"O8?|[biufcSU][1-9]\d{0,5}")
"""Types as a pickle has them, of objects, numbers and text of a fixed length."""
PLAIN = (str, bytes, bool, int, float, type(None))


class KnownThings(pickle.Unpickler):
    """Makes notes of numpy's arrays and hdmf-zarr's references, which are dictionaries of text."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what takes note in place of one of the classes and functions that these are made by.

        Raises
        ------
        pickle.UnpicklingError
            It is another one.
        """
        if module in MODULES and name in _NOTES:
            return _NOTES[name]
        if (module, name) == REFERENCE:
            return _Reference
        _refuse(f"{module}.{name}")


class _Sealed(type):
    """A class that a pickle cannot change."""

    def __setattr__(cls, name: str, value: Any) -> None:
        _refuse(f"to set {name}")


class _Note(metaclass=_Sealed):
    """What something is to be made with, and the state that it is to be given."""

    def __init__(self, *given: Any) -> None:
        self.given: Any = given
        self.state: Any = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Note):
    pass


class _Type(_Note):
    pass


class _Scalar(_Note):
    pass


class _Reference(dict[Any, Any], metaclass=_Sealed):
    pass


_NOTES = {"ndarray": "ndarray", "_reconstruct": _Array, "dtype": _Type, "scalar": _Scalar}


class _Replaced:
    """numcodecs' own way of decoding, replaced from the first ``known_pickles`` that begins to the last that ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._original: Any = None

    def replace(self) -> None:
        with self._lock:
            if not self._users:
                self._original, Pickle.decode = Pickle.decode, _decode
            self._users += 1

    def give_back(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                Pickle.decode = self._original


_NUMCODECS = _Replaced()


@contextmanager
def known_pickles() -> Iterator[None]:
    """Let the pickles of stores be decoded by ``KnownThings``. Independent; for all threads meanwhile."""
    _NUMCODECS.replace()
    try:
        yield
    finally:
        _NUMCODECS.give_back()


def _decode(codec: Pickle, buf: Any, out: Any = None) -> Any:
    note = KnownThings(io.BytesIO(memoryview(buf).cast("B"))).load()
    if type(note) is int and out is None:  # what stands for no value in an array of rows
        return note
    decoded = _array(note)
    if out is None:
        return decoded
    np.copyto(out, decoded)
    return out


def _array(note: Any) -> npt.NDArray[Any]:
    """Return the array that was taken note of: of objects, or of rows with some.

    What stands for no value in an array of rows may be one row, in an array without axes.
    """
    match note:
        case _Scalar(given=(_Type(), _Array(state=(int(), (), *_)) as row)):
            return _array(row)
        case _Array(state=(int(), tuple(shape), kind, _, list(items))):
            dtype = _dtype(kind)
        case _:
            _refuse("something else than an array of objects")
    if not (dtype.hasobject and all(type(extent) is int and extent >= 0 for extent in shape)):
        _refuse(f"an array of {dtype} of shape {shape}")
    if math.prod(shape) != len(items):
        _refuse(f"{len(items)} elements in an array of shape {shape}")
    values = np.empty(len(items), dtype=dtype)
    for number, item in enumerate(items):
        values[number] = _element(item) if dtype.names is None else _row(item, len(dtype.names))
    return values.reshape(shape)


def _row(item: Any, width: int) -> tuple[Any, ...]:
    if type(item) is not tuple or len(item) != width:
        _refuse("a row that is none")
    return tuple(_value(value) for value in item)


def _element(item: Any) -> Any:
    """Return a value, or a row of values, as which hdmf-zarr keeps compound values with text."""
    return tuple(_value(value) for value in item) if type(item) is tuple else _value(item)


def _value(item: Any) -> Any:
    if type(item) in PLAIN:
        return item
    if type(item) is _Reference:
        return _reference(item)
    match item:
        case _Scalar(given=(kind, bytes(data))):
            dtype = _dtype(kind)
            if not dtype.hasobject and dtype.names is None and len(data) == dtype.itemsize:
                return np.frombuffer(data, dtype=dtype)[0]
    _refuse(f"an element of type {type(item).__name__}")


def _reference(note: _Reference) -> Any:
    from hdmf_zarr.utils import ZarrReference

    if not (note.keys() <= REFERENCE_KEYS and all(type(text) in (str, type(None)) for text in note.values())):
        _refuse("a reference of something else than text")
    return ZarrReference(**{key: text for key, text in note.items() if text is not None})


def _dtype(note: Any) -> np.dtype[Any]:
    """Return the type that was taken note of; its flags, which a pickle has too, are numpy's own."""
    match note:
        case _Type(given=(str(), *_), state=(int(), str(), None, tuple(names), dict(fields), int(size), *_)):
            dtype = np.dtype([(name, _field(fields.get(name))) for name in names if type(name) is str])
            offsets = [at for _, at, *_ in (dtype.fields or {}).values()]
            if not names or dtype.itemsize != size or offsets != [fields[name][1] for name in names]:
                _refuse("fields that are not one after the other")
            return dtype
        case _Type(given=(str(text), *_), state=(int(), str(order), None, None, None, *_)) if ELEMENT.fullmatch(text):
            return np.dtype(text if order == "|" else np.dtype(text).newbyteorder(">" if order == ">" else "<"))
    _refuse("a type that is no element's")


def _field(found: Any) -> np.dtype[Any]:
    match found:
        case (_Type() as kind, int()):
            dtype = _dtype(kind)
            if dtype.names is None:
                return dtype
    _refuse("a field that is none")


def _refuse(wanted: str) -> NoReturn:
    raise pickle.UnpicklingError(f"a store holds arrays and references, and this pickle wants {wanted}")
