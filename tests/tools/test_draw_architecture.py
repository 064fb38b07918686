"""The picture in docs/architecture.md is the one that the imports give today."""

from tools.draw_architecture import PICTURE, draw, read_imports, remove_implied


def test_the_committed_picture_shows_the_imports_of_today():
    assert PICTURE.read_text(encoding="utf-8") == draw(read_imports()), "run: python -m tools.draw_architecture"


def test_an_arrow_is_left_out_only_where_a_chain_of_arrows_leads_to_the_same_place():
    edges = {("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"), ("a", "e"), ("d", "f"), ("e", "f")}
    assert remove_implied(edges) == sorted(edges - {("a", "d")})
