"""``fill``: a rank encodes and writes its chunks of a portion, whoever gives it addresses."""

from __future__ import annotations

from parnwb.backends.addresses import Places
from parnwb.backends.backend import Portion
from parnwb.backends.encoder import STORED_BYTES, Batch, Encoder
from parnwb.backends.pens import Pen
from parnwb.comm import Ahead, Aside, Ranks
from parnwb.machine.foresight import Foresight


def fill(ranks: Ranks, portion: Portion, places: Places, pen: Pen, threads: int) -> None:
    """Encode and write the chunks of a portion. Collective.

    Parameters
    ----------
    places
        Where encoded chunks go.
    pen
        What this rank writes with.
    threads
        How many encode.
    """
    phases = ranks.phases
    with ranks.agreed("writing"):
        stretch = places.begin(portion)
        # One thread that announces, however many encode one after the other: malloc has a store for each thread, and if
        # it came and went with them it would take the store that one of them has filled.
        with Foresight() as foresight, Aside(ranks, "writer") as writer:
            while stretch.low < stretch.high:
                with Encoder(ranks, portion, stretch, threads, foresight) as encoder:
                    _write(ranks, encoder, places, pen, writer)
                with phases("waiting for the last rank"):
                    stretch = places.more()
        with phases("waiting for the last rank"):
            places.finish()


def _write(ranks: Ranks, encoder: Ahead[Batch], places: Places, pen: Pen, writer: Aside) -> None:
    phases = ranks.phases
    phases.count(0, 0)
    while (batch := _next(ranks, encoder, places)) is not None:
        try:
            with phases("waiting for addresses"):
                addresses = places.of(batch)
            pen.write(batch, addresses, writer, places.attend)
        finally:
            batch.release()  # if this has failed as well: the encoder may be waiting for it
        phases.count(batch.raw_bytes, int(batch.requests[:, STORED_BYTES].sum()))
        del batch  # while the next is encoded nothing is held of this one


def _next(ranks: Ranks, encoder: Ahead[Batch], places: Places) -> Batch | None:
    with ranks.phases("waiting for the encoder"):
        ranks.wait_until(encoder.ready, places.serve)
    return encoder.take()
