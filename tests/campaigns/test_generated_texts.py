"""Generated manifests and links: whatever stands in them, nothing but a `ReidhubError` comes out."""

from collections import Counter
from contextlib import suppress

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.faults import QUICK
from support.generated_zoo import File, content, write_manifest

from reidhub.download.sources import open_stream
from reidhub.download.sources.gdrive import parse_id
from reidhub.errors import ManifestError, ReidhubError, SourceError
from reidhub.files.mega_link import MegaLink
from reidhub.testing.internet import online
from reidhub.zoo.artifact import Source
from reidhub.zoo.manifest import read_manifest

COUNT = Counter()
KEY = "F90NsNB2XHjXGZFC3Lrw1GMic0oMw4fnfuDUnSrPAYM"


@pytest.fixture(scope="module", autouse=True)
def what_was_done(tell):
    yield
    tell("generated texts: " + ", ".join(f"{count} {what}" for what, count in COUNT.items()) + "; 0 other errors")


def many(long: bool, test) -> None:
    """Run a property: 200 examples, 3000 in the long form."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    settings(max_examples=3000 if long else 200, deadline=None, database=None, suppress_health_check=checks)(test)()


words = st.text(max_size=12)
PARTS = (
    *("https://", "http://", "mega.nz", "mega.co.nz", "/#!", "/file/", "!", "#", "%21", "YK5GRARL", KEY, KEY[:-1]),
    *("drive.google.com", "/uc?id=", "&id=", "/file/d/", "/view", "1" * 33, "..", "/", "@", ":", "[", "]", "\0", "\n"),
    *("file://", "huggingface.co", "?", "é", "\ud800", "xn--", " "),
)
RIGHT = (
    *(f"https://mega.nz/#!YK5GRARL!{KEY}", f"https://mega.co.nz/file/YK5GRARL#{KEY}"),
    *(f"https://drive.google.com/uc?id={'1' * 33}", f"https://drive.google.com/file/d/{'1' * 33}/view"),
)


@st.composite
def nearly_right(draw) -> str:
    """A link with a piece of it replaced."""
    link = draw(st.sampled_from(RIGHT))
    at, cut = draw(st.integers(0, len(link))), draw(st.integers(0, 3))
    return link[:at] + draw(st.one_of(st.sampled_from(PARTS), words, st.just(""))) + link[at + cut :]


scraps = st.lists(st.one_of(st.sampled_from(PARTS), words), max_size=9).map("".join)
links = st.one_of(scraps, nearly_right())


def test_a_link_is_read_or_refused(long):
    @given(links)
    def check(text):
        for read in (MegaLink.parse, parse_id):
            try:
                read(text)
                COUNT["links read"] += 1
            except SourceError as error:
                assert error.permanent
                assert KEY not in str(error)
                COUNT["links refused"] += 1

    many(long, check)


def test_no_location_opens_with_another_error(long):
    @given(st.sampled_from(["mega", "gdrive", "https", "local", "http"]), links)
    def check(kind, text):
        try:
            with open_stream(Source(kind, text), patience=QUICK):
                COUNT["locations opened"] += 1
        except ReidhubError as error:
            assert "unexpected way" not in error.message
        COUNT["locations tried"] += 1

    with online({}):
        many(long, check)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**12), st.floats(), words, links, st.dates(), st.just("osnet_x0_25.one")
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(words, scalars), inner, max_size=3)),
    max_leaves=6,
)


def entry(folder) -> dict:
    path = write_manifest(folder / "right.yaml", [File("one", content(100))])
    return yaml.safe_load(path.read_text())


def spots(node, path=()):
    """Every place in a tree that a value can be put into."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield (*path, key)
        yield from spots(child, (*path, key))


def test_a_manifest_with_anything_anywhere_is_read_or_refused_with_its_line(long, tmp_path):
    right = entry(tmp_path)
    places = list(spots(right))
    file = tmp_path / "changed.yaml"

    @given(st.lists(st.tuples(st.sampled_from(places), values), min_size=1, max_size=2), st.booleans())
    def check(changes, extra):
        tree = entry(tmp_path)
        for place, value in changes:
            at = tree
            with suppress(KeyError, IndexError, TypeError):
                for key in place[:-1]:
                    at = at[key]
                at["unknown" if extra and isinstance(at, dict) else place[-1]] = value
        file.write_text(yaml.dump(tree, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
        read(file)

    many(long, check)


def test_a_manifest_of_any_text_is_read_or_refused(long, tmp_path):
    right = write_manifest(tmp_path / "right.yaml", [File("one", content(100))]).read_bytes()
    file = tmp_path / "changed.yaml"

    @given(st.integers(0, len(right)), st.integers(0, 60), st.one_of(st.binary(max_size=8), words.map(encoded)))
    def check(at, cut, new):
        file.write_bytes(right[:at] + new + right[at + cut :])
        read(file)

    many(long, check)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def read(file) -> None:
    try:
        read_manifest([file])
        COUNT["manifests read"] += 1
    except ManifestError as error:
        assert error.message.startswith(str(file))
        COUNT["manifests refused"] += 1
