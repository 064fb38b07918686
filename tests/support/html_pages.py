"""Reads HTML pages into trees, and fails if a page is not well-formed."""

from collections.abc import Iterator
from html.parser import HTMLParser

_VOID = {"meta", "img", "input", "br", "link", "wbr"}


class Node:
    """One HTML element; ``children`` are elements and texts."""

    def __init__(self, tag: str, attributes: dict[str, str | None]) -> None:
        self.tag, self.attributes = tag, attributes
        self.children: list[Node | str] = []

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def classes(self) -> list[str]:
        return (self.attributes.get("class") or "").split()

    def __iter__(self) -> Iterator["Node"]:
        """Yield all elements inside this element, in the order of the page."""
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child

    def all(self, tag: str, name: str | None = None) -> list["Node"]:
        """Return the elements inside this element that have a tag and, if ``name`` is given, this class."""
        return [node for node in self if node.tag == tag and (name is None or name in node.classes)]

    def one(self, tag: str, **attributes: str) -> "Node":
        """Return the only element with a tag and attributes; fail if there is none or more than one."""
        found = [node for node in self.all(tag) if attributes.items() <= node.attributes.items()]
        assert len(found) == 1, (tag, attributes, len(found))
        return found[0]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.stack = [Node("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        node = Node(tag, dict(attrs))
        self.stack[-1].children.append(node)
        if tag not in _VOID:
            self.stack.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack[-1].tag == tag, f"</{tag}> closes <{self.stack[-1].tag}> in line {self.getpos()[0]}"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        self.stack[-1].children.append(data)


def read(page: str) -> Node:
    """Read a page, and return the root of its tree.

    Raises:
        AssertionError: an element is not closed, or an attribute occurs twice.
    """
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert len(reader.stack) == 1, f"<{reader.stack[-1].tag}> is not closed"
    return reader.stack[0]
