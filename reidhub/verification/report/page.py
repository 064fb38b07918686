"""Makes HTML pages from the templates in ``templates/``.

A page is one file that loads no other file. HTML characters in values are escaped. If a template uses a name that has
no value, Jinja raises an error.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from reidhub.verification.results import Measured
from reidhub.zoo.describe import name_metric

_UNFIT = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff"  # not allowed in HTML, but possible in names of files
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # change the direction of the text that follows
)


def render_page(
    template: str,
    *,
    package: str = __package__,
    styles: Sequence[str] = ("page.css",),
    scripts: Sequence[str] = (),
    **values: Any,
) -> str:
    """Render a template that extends ``base.html``.

    Args:
        template: file name of the template.
        package: the package that has the template in its folder ``templates``.
        styles: file names of the page's style sheets; the page has them in this order.
        scripts: file names of the page's scripts.
        values: the values that the template uses, without ``style``, ``script`` and ``policy``: these are added here.
    """
    style, code = ("".join(_read(name, package) for name in names) for names in (styles, scripts))
    frame = {"style": style, "script": code, "policy": _policy(style, code)}
    page = load_templates(package).get_template(template).render(**frame, **values)
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", page)


@cache
def load_templates(package: str = __package__) -> Environment:
    """Return the Jinja environment of a package's templates; they can extend the templates of this package.

    It has the filters that the templates use, and the Jinja test ``measured``: ``result is measured`` is true if the
    result is a `Measured`.
    """
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(__package__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = {
        "decimals": lambda value, count: f"{value:.{count}f}",
        "digits": format_digits,
        "file_name": lambda path: path.rpartition("/")[2],
        "last_characters": lambda text, count: text if len(text) <= count else "…" + text[1 - count :],
        "metric_name": name_metric,
        "px": lambda value: f"{value:.2f}".rstrip("0").rstrip("."),
        "signed": lambda points: use_minus_sign(f"{points:+.3f}"),
        "verdict_class": lambda verdict: verdict.replace(",", "").replace(" ", "-"),
        "thousands": lambda count: f"{count:,.0f}",
    }
    templates.filters.update(formats)
    templates.globals.update(format_digits=format_digits, format_signed=format_signed)
    templates.tests["measured"] = lambda result: isinstance(result, Measured)
    return templates


def format_digits(value: float, count: int = 4) -> str:
    """Format a number with at most ``count`` significant digits."""
    return f"{value:.{count}g}"


def format_signed(value: float) -> str:
    """Format a number with at most three significant digits and a sign; 0 has no sign."""
    return use_minus_sign(f"{value:+.3g}") if abs(value) > 1e-9 else "0"


def use_minus_sign(number: str) -> str:
    """Replace the hyphen in the text of a number by a real minus sign."""
    return number.replace("-", "\N{MINUS SIGN}")


@cache
def _read(name: str, package: str) -> str:
    """Return the text of a file in the folder ``templates`` of a package, or else of this package."""
    own = files(package).joinpath("templates", name)
    return (own if own.is_file() else files(__package__).joinpath("templates", name)).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Return a content security policy that allows only this style, this script and ``data:`` images."""
    hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
