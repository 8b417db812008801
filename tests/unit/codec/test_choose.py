"""The choice of a coder keeps its promises on many kinds of data, on the whole of them and not the sample."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from parnwb.codec import choose_coding, coder_for
from parnwb.codec.choose import BY_SPEED
from parnwb.codec.deflate import open_deflater
from parnwb.codec.filters import row_length
from parnwb.layout import DatasetSpec, FilterSpec
from parnwb.sources.array import ArraySource
from parnwb.sources.sample import sample

ROWS, CHANNELS = 24_000, 16


def noise(amplitude: float, dtype: str, smooth: int = 3) -> np.ndarray:
    """Coloured noise, as amplifiers give it."""
    random = np.random.default_rng(0)
    white = random.normal(0, amplitude, (ROWS + smooth, CHANNELS))
    return (sum(white[i : i + ROWS] for i in range(smooth)) / np.sqrt(smooth)).astype(dtype)


@lru_cache
def made(name: str) -> np.ndarray:
    random = np.random.default_rng(1)
    return {
        "low-count ephys": lambda: noise(6, "<i2"),
        "ephys": lambda: noise(40, "<i2"),
        "large amplitude": lambda: noise(2000, "<i2"),
        "big-endian": lambda: noise(300, ">i2"),
        "slow potentials": lambda: np.clip(np.cumsum(noise(25, "<f8"), axis=0), -30_000, 30_000).astype(
            "<i2"
        ),
        "floats": lambda: noise(1e-4, "<f4"),
        "doubles in counts": lambda: noise(20, "<i2").astype("<f8")[: ROWS // 4],
        "timestamps": lambda: (np.arange(ROWS * 4) / 30_000 + 12.5).reshape(-1, 1),
        "constant": lambda: np.full((ROWS, CHANNELS), -3, "<i2"),
        "random bytes": lambda: np.frombuffer(random.bytes(ROWS * CHANNELS), "<i2").reshape(-1, CHANNELS),
        "bytes of an image": lambda: noise(10, "<i2").astype("|u1"),
        "booleans": lambda: random.random((ROWS, CHANNELS)) < 0.02,
        "spike counts": lambda: random.poisson(0.05, (ROWS, CHANNELS)).astype("<u4"),
    }[name]()


KINDS = [
    "low-count ephys",
    "ephys",
    "large amplitude",
    "big-endian",
    "slow potentials",
    "floats",
    "doubles in counts",
    "timestamps",
    "constant",
    "random bytes",
    "bytes of an image",
    "booleans",
    "spike counts",
]


def spec_of(values: np.ndarray, *filters: FilterSpec) -> DatasetSpec:
    chunks = (min(4000, values.shape[0]), values.shape[1])
    return DatasetSpec("/x", values.shape, values.shape, values.dtype.str, chunks, filters)


def pieces_of(values: np.ndarray) -> list[np.ndarray]:
    """What the root shows to the choice."""
    return list(sample(ArraySource(values), spec_of(values).grid, "/x"))


def size(values: np.ndarray, name: str, shuffled: bool) -> int:
    """Bytes of all chunks of the data."""
    total = 0
    for low in range(0, len(values), 4000):
        part = np.ascontiguousarray(values[low : low + 4000])
        itemsize = values.itemsize if shuffled else 1
        row = row_length(part.shape) * values.itemsize // itemsize
        deflater = open_deflater(name, shuffled_itemsize=itemsize, row=row)
        total += len(deflater.compress(part.reshape(-1).view(np.uint8)))
    return total


# -- auto ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_auto_is_at_most_a_tenth_larger_than_the_better_zlib_4(name):
    values = made(name)
    choice = choose_coding(pieces_of(values))
    reference = min(size(values, "zlib-4", flag) for flag in (False, True))
    assert size(values, choice.coder, choice.shuffle) <= 1.10 * reference + 64
    assert choice.level == int(choice.coder[-1])


@pytest.mark.parametrize("name", KINDS)
def test_auto_takes_no_slower_coder_than_it_must(name):
    pieces = pieces_of(made(name))
    choice = choose_coding(pieces)
    reference = reference_by_piece(pieces)
    smallest = {name: min(size_by_piece(pieces, name, flag) for flag in (False, True)) for name in BY_SPEED}
    within = [name for name in BY_SPEED if smallest[name] <= 1.10 * reference]
    assert choice.coder == (within[0] if within else "zlib-4")


def test_huffman_codes_alone_are_enough_for_low_counts():
    """Repetitions cost more to look for in noise than they save."""
    values = made("low-count ephys")
    assert size(values, "huffman-1", True) <= 1.03 * min(size(values, "zlib-4", flag) for flag in (False, True))


@pytest.mark.parametrize("rows", [200, 2500])
@pytest.mark.parametrize("fill", [0, -1])
def test_padding_at_the_end_of_the_data_costs_next_to_nothing(rows, fill):
    """Codes alone take a bit for each byte of it: a chunk that is nearly empty got six times as large."""
    chunk = np.full((4000, CHANNELS), fill, "<i2")
    chunk[:rows] = made("low-count ephys")[:rows]
    assert size(chunk, "huffman-1", True) <= 1.10 * size(chunk, "zlib-4", False)


def size_by_piece(pieces: list[np.ndarray], name: str, shuffled: bool) -> int:
    return sum(size(piece, name, shuffled) for piece in pieces)


def reference_by_piece(pieces: list[np.ndarray]) -> int:
    return min(size_by_piece(pieces, "zlib-4", flag) for flag in (False, True))


@pytest.mark.parametrize("name", KINDS)
def test_auto_is_deterministic(name):
    pieces = pieces_of(made(name))
    assert len({choose_coding([piece.copy() for piece in pieces]) for _ in range(2)}) == 1


def test_shuffle_is_decided_by_the_data():
    """It helps where high bytes are alike and low ones are not."""
    assert not choose_coding(pieces_of(made("random bytes"))).shuffle
    assert choose_coding(pieces_of(made("timestamps"))).shuffle
    assert choose_coding(pieces_of(made("slow potentials"))).shuffle


@pytest.mark.parametrize("name", ["bytes of an image", "booleans"])
def test_single_bytes_are_never_shuffled(name):
    assert not choose_coding(pieces_of(made(name))).shuffle


@pytest.mark.parametrize("pieces", [[], [np.empty((0, 4), "<i2")]])
def test_nothing_known_is_a_middling_choice(pieces):
    choice = choose_coding(pieces)
    assert (choice.coder, choice.shuffle) == ("libdeflate-4", False)


# -- the level a user asks for -------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize(
    "name", ["low-count ephys", "large amplitude", "floats", "timestamps", "spike counts"]
)
def test_level_keeps_its_meaning(name, level, shuffled):
    values = made(name)[:8000]
    filters = [FilterSpec(2, (values.itemsize,), "shuffle")] * shuffled + [FilterSpec(1, (level,), "deflate")]
    chosen = coder_for(spec_of(values, *filters), pieces_of(values))
    assert size(values, chosen, shuffled) <= 1.05 * size(values, f"zlib-{level}", shuffled) + 64


@pytest.mark.parametrize("name", ["constant", "random bytes", "booleans", "bytes of an image", "ephys"])
@pytest.mark.parametrize("level", [0, 1, 4, 6, 9])
def test_level_keeps_its_meaning_on_odd_data(name, level):
    values = made(name)[:8000]
    chosen = coder_for(spec_of(values, FilterSpec(1, (level,), "deflate")), pieces_of(values))
    assert size(values, chosen, False) <= 1.05 * size(values, f"zlib-{level}", False) + 64


def test_level_0_stores():
    values = made("constant")
    assert coder_for(spec_of(values, FilterSpec(1, (0,), "deflate")), pieces_of(values)) == "zlib-0"


@pytest.mark.parametrize("level", range(1, 10))
def test_no_sample_is_zlib_itself(level):
    """Of a source that can only be read once nothing is known, so the promise is kept by zlib."""
    spec = spec_of(made("ephys"), FilterSpec(1, (level,), "deflate"))
    assert coder_for(spec, []) == f"zlib-{level}"


@pytest.mark.parametrize("filters", [(), (FilterSpec(2, (2,), "shuffle"),), (FilterSpec(32000, (), "lzf"),)])
def test_no_deflate_no_coder(filters):
    values = made("ephys")
    assert coder_for(spec_of(values, *filters), pieces_of(values)) == ""


def test_shuffle_of_single_bytes_is_none():
    values = made("bytes of an image")[:4000]
    filters = [FilterSpec(2, (1,), "shuffle"), FilterSpec(1, (4,), "deflate")]
    spec = spec_of(values, *filters)
    assert coder_for(spec, pieces_of(values)) == coder_for(
        replace(spec, filters=filters[1:]), pieces_of(values)
    )
