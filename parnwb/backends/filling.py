"""``fill``: a rank encodes and writes its chunks of a portion, whoever gives it addresses."""

from __future__ import annotations

from parnwb.backends.addresses import Places
from parnwb.backends.backend import Portion
from parnwb.backends.encoder import STORED_BYTES, Batch, Encoder
from parnwb.backends.pens import Pen
from parnwb.backends.stretch import Stretch
from parnwb.comm import Ahead, Aside, Ranks


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
        with Aside(ranks, "writer") as writer:
            while stretch.low < stretch.high:
                _write(ranks, portion, stretch, places, pen, writer, threads)
                with phases("waiting for the last rank"):
                    stretch = places.more()
        with phases("waiting for the last rank"):
            places.finish()


def _write(
    ranks: Ranks, portion: Portion, stretch: Stretch, places: Places, pen: Pen, writer: Aside, threads: int
) -> None:
    phases = ranks.phases
    phases.count(0, 0)
    with Encoder(ranks, portion, stretch, threads) as encoder:
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
