"""Draws a contact sheet as one picture."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from reidhub.datasets.folders import printable
from reidhub.errors import UsageError
from reidhub.files.atomic import explain_write_errors, write_atomically
from reidhub.inference.boxes import Box
from reidhub.retrieval.rank_job import RankReport
from reidhub.retrieval.ranking import Neighbour, Ranking
from reidhub.verification.report.thumbnails import read_small

QUERIES, IMAGES = 50, 20
"""Largest number of queries in a picture, and of images for each query."""

_WIDTH, _HEIGHT = 96, 192  # pixels of the largest image
_FRAME = 4
_GAP = 10
_LINE = 16  # height of a line of text
_CELL = _WIDTH + 2 * _FRAME + _GAP
_ROW = _HEIGHT + 2 * _FRAME + 3 * _LINE + 2 * _GAP
_HEADER = 2 * _LINE + 2 * _GAP
_PAPER, _INK, _SOFT, _LINE_COLOUR = "#ffffff", "#1b1f24", "#57606a", "#d0d7de"
_COLOURS = {"right": "#116329", "wrong": "#a40e26", "same camera": "#8c959f", "junk": "#8c959f"}


def write_picture(report: RankReport, path: Path) -> str | None:
    """Draw the contact sheet, and write it as a PNG file.

    Args:
        report: the rankings.
        path: the file; its folder is created if it does not exist.

    Returns:
        A sentence that says what the picture does not show; None if it shows everything.

    Raises:
        DiskFullError: the disk has no room for the picture.
        UsageError: the picture cannot be written for another reason.
    """
    rankings = report.rankings[:QUERIES]
    columns = 1 + min(IMAGES, max((len(ranking.images) for ranking in rankings), default=0))
    size = (max(_GAP + columns * _CELL, 5 * _CELL), _HEADER + max(1, len(rankings)) * _ROW)
    sheet = _Sheet(Image.new("RGB", size, _PAPER))
    sheet.write((_GAP, _GAP), f"{report.model.checkpoint}, {report.distance} distance", _INK, size[0] - 2 * _GAP)
    sheet.write((_GAP, _GAP + _LINE), report.order, _SOFT, size[0] - 2 * _GAP)
    for row, ranking in enumerate(rankings):
        sheet.draw_ranking(_HEADER + row * _ROW, ranking)
    with explain_write_errors(f"write {path}", UsageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as file:
            sheet.image.save(file, "PNG")
    return _describe_limits(report)


def _describe_limits(report: RankReport) -> str | None:
    limits = []
    if len(report.rankings) > QUERIES:
        limits.append(f"it shows the first {QUERIES} of {len(report.rankings):,} queries; --html shows more")
    if max((len(ranking.images) for ranking in report.rankings), default=0) > IMAGES:
        limits.append(f"it shows the first {IMAGES} images of each query")
    return "; ".join(limits) or None


class _Sheet:
    """The picture, and how its parts are drawn."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._draw = ImageDraw.Draw(image)
        self._font = ImageFont.load_default(13)

    def draw_ranking(self, top: int, ranking: Ranking) -> None:
        """Draw one row: the query, a line, and the images of the gallery."""
        self._draw_cell(0, top, ranking.query, None)
        self._write_below(0, top, ["query", ranking.query.rpartition("/")[2]], _INK)
        for column, image in enumerate(ranking.images[:IMAGES], 1):
            self._draw_cell(column, top, image.path, image.box)
            self._mark(column, top, image)
        bottom = top + _ROW - _GAP
        self._draw.line((_GAP, bottom, self.image.width - _GAP, bottom), _LINE_COLOUR)

    def write(self, place: tuple[int, int], text: str, colour: str, width: int) -> None:
        """Write a text; if it is too long for ``width`` pixels, its end is left out."""
        text = printable(text)
        length = len(text)
        while length and self._draw.textlength(text, self._font) > width:
            length -= 1
            text = text[:length] + "..."
        self._draw.text(place, text, colour, self._font)

    def _draw_cell(self, column: int, top: int, path: str, box: Box | None) -> None:
        left = _GAP + column * _CELL + _FRAME
        small = read_small(Path(path), box, (_WIDTH, _HEIGHT))
        if small is None:
            self.write((left, top + _FRAME + _HEIGHT // 2), "no image", _SOFT, _WIDTH)
            return
        small = ImageOps.contain(small, (_WIDTH, _HEIGHT))  # enlarges a smaller image
        corner = (left + (_WIDTH - small.width) // 2, top + _FRAME + (_HEIGHT - small.height) // 2)
        self.image.paste(small, corner)

    def _mark(self, column: int, top: int, image: Neighbour) -> None:
        """Draw the frame of an image of the gallery, and write place, mark, distance and name below it."""
        colour = _COLOURS[image.mark] if image.mark else _LINE_COLOUR
        left = _GAP + column * _CELL
        corners = (left, top, left + _WIDTH + 2 * _FRAME - 1, top + _HEIGHT + 2 * _FRAME - 1)
        self._draw.rectangle(corners, outline=colour, width=_FRAME if image.mark == "right" else _FRAME // 2)
        if image.mark == "wrong":
            self._draw.line((corners[2] - 14, top + 2, corners[2] - 2, top + 14), colour, 3)
            self._draw.line((corners[2] - 14, top + 14, corners[2] - 2, top + 2), colour, 3)
        lines = [f"{image.place} {image.mark or ''}", f"{image.distance:.4g}", image.path.rpartition("/")[2]]
        self._write_below(column, top, lines, _COLOURS.get(image.mark or "", _INK))

    def _write_below(self, column: int, top: int, lines: list[str], colour: str) -> None:
        for number, line in enumerate(lines):
            place = (_GAP + column * _CELL, top + _HEIGHT + 2 * _FRAME + 2 + number * _LINE)
            self.write(place, line, colour if number == 0 else _SOFT, _CELL - 2)
