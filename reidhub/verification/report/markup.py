"""HTML and SVG put together such that text is always escaped: only what was made here counts as markup."""

import re
from collections.abc import Iterable
from html import escape

_VOID = {"img", "input", "br"}
_UNFIT = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff"  # in no HTML text, but names of files may hold them
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # turn round the direction of what stands behind them
)


class Markup(str):
    """Text that is markup already and is not escaped again."""

    __slots__ = ()


Child = str | Markup | int | None
Attribute = str | int | float | bool | None


def element(tag: str, *children: Child | Iterable[Child], **attributes: Attribute) -> Markup:
    """One element.

    Args:
        tag: its name.
        children: what stands in it; text is escaped, None is nothing.
        attributes: ``class_`` means ``class`` and ``aria_label`` means ``aria-label``; True is an attribute without a
            value, False and None are none. Numbers get at most two decimals.
    """
    opening = f"<{tag}{''.join(_attribute(name, value) for name, value in attributes.items())}>"
    if tag in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{join(*children)}</{tag}>")


def join(*children: Child | Iterable[Child]) -> Markup:
    """Several elements and texts, one behind the other."""
    return Markup("".join(map(_child, children)))


def text(value: str) -> Markup:
    """Escaped, and with what no page can hold replaced."""
    return Markup(escape(_UNFIT.sub("\N{REPLACEMENT CHARACTER}", value)))


def _child(child: Child | Iterable[Child]) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str | int):
        return text(str(child))
    return "".join(map(_child, child))


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    if isinstance(value, float):
        value = f"{value:.2f}".rstrip("0").rstrip(".")
    return f' {name}="{text(str(value))}"'
