"""Writes the report of a run: one HTML file that loads no other file.

The same results always give the same file, byte for byte.
"""

from reidhub.verification.report.galleries import Gallery, RankedImage, RankedQuery, make_galleries, rank_gallery
from reidhub.verification.report.html import write_report

__all__ = ["Gallery", "RankedImage", "RankedQuery", "make_galleries", "rank_gallery", "write_report"]
