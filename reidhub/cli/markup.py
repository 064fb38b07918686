"""Write a table as CSV, as Markdown or as LaTeX, with all special characters escaped."""

import csv
import io
import re
from collections.abc import Sequence

_MARKDOWN = re.compile(r"[\\`*\[\]<>&|~$#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")  # `_` inside a word is plain text
_LATEX = {
    **{sign: f"\\{sign}" for sign in "_&%#${}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after the end of a row, LaTeX would read an option in brackets
    "*": "{*}",  # and a star
}


def write_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table as CSV: a line of titles, then one line per row; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_join_lines(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return text.getvalue()


def write_markdown(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Return a table in the syntax of GitHub's Markdown.

    Args:
        header: column titles.
        rows: the cells of each row, as plain text.
        right: titles of the columns that are aligned to the right.
    """
    lines = [[_MARKDOWN.sub(r"\\\g<0>", _join_lines(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * (width - 1) + (":" if title in right else "-") for title, width in zip(header, widths, strict=True)]
    aligned = [str.rjust if title in right else str.ljust for title in header]
    return "\n".join(
        f"| {' | '.join(align(cell, width) for align, cell, width in zip(aligned, line, widths, strict=True))} |"
        for line in (lines[0], rule, *lines[1:])
    )


def write_latex(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Return a table as a LaTeX environment ``tabular``, which needs no package.

    Args:
        header: column titles.
        rows: the cells of each row, as plain text.
        right: titles of the columns that are aligned to the right.
    """
    lines = [" & ".join(_escape_latex(_join_lines(cell)) for cell in row) + r" \\" for row in (header, *rows)]
    columns = "".join("r" if title in right else "l" for title in header)
    body = [r"\hline", lines[0], r"\hline", *lines[1:], r"\hline"]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}"])


def _join_lines(cell: str) -> str:
    return "; ".join(cell.splitlines())


def _escape_latex(text: str) -> str:
    escaped = "".join(_LATEX.get(sign, sign) for sign in text)
    return escaped.replace("--", "-{}-")  # two hyphens would become a dash
