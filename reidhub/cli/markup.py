"""Write a table as CSV or as LaTeX, with all special characters escaped."""

import csv
import io
from collections.abc import Sequence

from reidhub.files.markdown import join_lines

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
    writer.writerows([join_lines(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return text.getvalue()


def write_latex(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Return a table as a LaTeX environment ``tabular``, which needs no package.

    Args:
        header: column titles.
        rows: the cells of each row, as plain text.
        right: titles of the columns that are aligned to the right.
    """
    lines = [" & ".join(_escape_latex(join_lines(cell)) for cell in row) + r" \\" for row in (header, *rows)]
    columns = "".join("r" if title in right else "l" for title in header)
    body = [r"\hline", lines[0], r"\hline", *lines[1:], r"\hline"]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}"])


def _escape_latex(text: str) -> str:
    escaped = "".join(_LATEX.get(sign, sign) for sign in text)
    return escaped.replace("--", "-{}-")  # two hyphens would become a dash
