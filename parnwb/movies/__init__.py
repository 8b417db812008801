"""Movies and image stacks beside NWB files: looked at, checked, brought along, or read frame by frame."""

from __future__ import annotations

from parnwb.movies.checks import check_movies
from parnwb.movies.clip import Clip, examine
from parnwb.movies.counting import counted_otherwise, say_counted
from parnwb.movies.frames import MovieFrames
from parnwb.movies.ingesting import ingest_movies
from parnwb.movies.placing import movies_beside, name_from_here, place_movies, plan_placing

__all__ = [
    "Clip",
    "MovieFrames",
    "check_movies",
    "counted_otherwise",
    "examine",
    "ingest_movies",
    "movies_beside",
    "name_from_here",
    "place_movies",
    "plan_placing",
    "say_counted",
]
