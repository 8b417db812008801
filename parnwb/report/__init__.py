"""Reports: one page about a file that was written or verified."""

from __future__ import annotations

from parnwb.report.making import check_place, make_report, report_of, verification_report
from parnwb.report.page import Report

__all__ = ["Report", "check_place", "make_report", "report_of", "verification_report"]
