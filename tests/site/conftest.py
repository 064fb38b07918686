"""One site of the whole zoo for all tests of a module, with receipts, states of links and documentation."""

import pytest
from support.explorer_inputs import PINNED, UNPINNED, Site, measured, not_comparable, write_links, write_receipt_of

from reidhub.site.content import Content
from reidhub.site.write import write_site
from reidhub.zoo.manifest import zoo


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    pinned, unpinned = (zoo().by_name[name] for name in (PINNED, UNPINNED))
    results = [measured(pinned, "market1501", "0.08"), measured(unpinned, "market1501", "-3")]
    receipts = [
        write_receipt_of(folder / "first.json", [not_comparable(results[0])]),
        write_receipt_of(folder / "second.json", results),
    ]
    links = write_links(folder / "links.json", [pinned])
    content = Content.read(zoo().checkpoints, receipts, links, "../index.html")
    write_site(content, folder / "explorer")
    return Site(folder / "explorer", content)
