"""The report of a run: one HTML page, in one file that loads nothing else.

The same results give the same page, byte for byte.
"""

from reidhub.verification.report.galleries import Gallery, RankedImage, RankedQuery, make_galleries, rank_gallery
from reidhub.verification.report.html import write_report

__all__ = ["Gallery", "RankedImage", "RankedQuery", "make_galleries", "rank_gallery", "write_report"]
