"""Many recordings in one job: the ranks are divided into teams, each of which converts a session after another."""

from __future__ import annotations

from parnwb.campaign.run import Campaign, Outcome, run
from parnwb.campaign.sessions import Session, read_sessions
from parnwb.campaign.teams import Arrangement, arrange

__all__ = ["Arrangement", "Campaign", "Outcome", "Session", "arrange", "read_sessions", "run"]
