"""The report of a run: one HTML page that needs nothing beside it and asks no other machine for anything.

It is made of values alone, so that the same results give the same page, byte for byte.
"""

from reidhub.verification.report.galleries import Gallery, RankedImage, RankedQuery, galleries_of, rank_gallery
from reidhub.verification.report.html import write_report

__all__ = ["Gallery", "RankedImage", "RankedQuery", "galleries_of", "rank_gallery", "write_report"]
