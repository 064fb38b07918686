"""The sha256 value type."""

import pytest

from reidhub.files.digest import Digest

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


def test_a_digest_is_the_published_one_however_the_bytes_come(tmp_path):
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    assert Digest.of_bytes(b"abc") == Digest.of_chunks([b"a", b"", b"bc"]) == Digest.of_file(file) == Digest(ABC)


@pytest.mark.parametrize("text", ["", ABC[:-1], ABC + "0", ABC.upper(), "g" + ABC[1:], f" {ABC}", ABC + "\n"])
def test_anything_but_64_lower_case_hex_digits_is_refused(text):
    with pytest.raises(ValueError, match="not a sha256"):
        Digest(text)
