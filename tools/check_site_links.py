"""Check a built site: no link within the site is broken, and no page loads anything from another site.

    python -m tools.check_site_links build/site build/outside-links.txt

Links to other sites are not followed. They are listed in the second file, each with the pages that have it.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

_LOADED = {"src", "srcset", "poster", "data"}  # attributes with addresses that a browser loads by itself
_CSS_ADDRESS = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""")


@dataclass
class Page:
    """The links and the anchors of one HTML or CSS file.

    Args:
        links: addresses that a reader can follow.
        loads: addresses that a browser loads with the page.
        anchors: the ids on the page.
    """

    links: set[str] = field(default_factory=set)
    loads: set[str] = field(default_factory=set)
    anchors: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        for name, value in attrs:
            text = (value or "").strip()
            if name == "id" or (name == "name" and tag == "a"):
                self.page.anchors.add(text)
            elif name == "srcset":
                self.page.loads.update(part.split()[0] for part in text.split(", "))
            elif name in _LOADED or (name == "href" and tag == "link"):
                self.page.loads.add(text)
            elif name in ("href", "action", "xlink:href"):
                self.page.links.add(text)
            elif name == "style":
                self.page.loads.update(_CSS_ADDRESS.findall(text))

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.page.loads.update(_CSS_ADDRESS.findall(data))


def read_site(site: Path) -> dict[Path, Page]:
    """Read every HTML and CSS file of a site."""
    return {path: _read_page(path) for path in sorted(site.rglob("*")) if path.suffix in (".html", ".css")}


def _read_page(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return Page(loads=set(_CSS_ADDRESS.findall(text)))
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.page


def find_problems(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """Describe each broken link, and each address outside of the site that a page loads."""
    for path, page in pages.items():
        for address in sorted(page.links | page.loads):
            name = path.relative_to(site)
            if not _is_outside(address):
                if problem := _explain_broken(site, pages, path, address):
                    yield f"{name}: {address}: {problem}"
            elif address in page.loads:
                yield f"{name} loads {address}"


def list_outside(site: Path, pages: dict[Path, Page]) -> dict[str, list[str]]:
    """List the addresses outside of the site to which pages link: address -> the pages."""
    found: dict[str, list[str]] = {}
    for path, page in pages.items():
        for address in filter(_is_outside, page.links):
            found.setdefault(address, []).append(str(path.relative_to(site)))
    return dict(sorted(found.items()))


def _is_outside(address: str) -> bool:
    return bool(urlsplit(address).netloc or urlsplit(address).scheme not in ("", "data"))


def _explain_broken(site: Path, pages: dict[Path, Page], path: Path, address: str) -> str | None:
    """Say why an address within the site leads nowhere; None if it leads somewhere."""
    parts = urlsplit(address)
    if parts.scheme == "data":
        return None
    if parts.path.startswith("/"):
        return "the site may lie in any folder, so a link must not start with /"
    target = Path(unquote(urlsplit(urljoin(path.as_uri(), parts.path or path.name)).path))
    if not target.is_relative_to(site):
        return "it leads out of the site"
    if not target.is_file():
        return "no such file"
    if parts.fragment and unquote(parts.fragment) not in {"top", *pages.get(target, Page()).anchors}:
        return "no such place on the page"
    return None


def main() -> None:
    """Check a site; list the problems on stderr and the addresses outside in a file."""
    site, listed = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    pages = read_site(site)
    outside = list_outside(site, pages)
    listed.write_text(
        "".join(f"{address}  {' '.join(names)}\n" for address, names in outside.items()), encoding="utf-8"
    )
    problems = list(find_problems(site, pages))
    sys.stdout.write(f"{len(pages)} files; {len(outside)} addresses outside of the site: {listed}\n")
    sys.exit("\n".join(problems) if problems else 0)


if __name__ == "__main__":
    main()
