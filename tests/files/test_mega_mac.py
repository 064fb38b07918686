"""Links of Mega and the MAC they carry."""

import logging
import os

import pytest
import yaml
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from support.paths import shared

from reidhub.errors import IntegrityError, SourceError
from reidhub.files.mega_link import MegaLink
from reidhub.files.mega_mac import ContentMac
from reidhub.testing.hosts import MegaKey, content_mac, mega_link

PUBLISHED = "https://mega.nz/#!YK5GRARL!F90NsNB2XHjXGZFC3Lrw1GMic0oMw4fnfuDUnSrPAYM"
KEY = PUBLISHED.split("!")[2]
SIZES = [0, 1, 15, 16, 17, 131071, 131072, 131073, 393221, 4718592, 5767171]


def plain_mac(aes, nonce, content):
    """The MAC as the description reads, one block of 16 bytes after another."""
    box = Cipher(AES(aes), ECB()).encryptor()
    xor = lambda a, b: (int.from_bytes(a) ^ int.from_bytes(b)).to_bytes(16)  # noqa: E731
    whole, at, index = bytes(16), 0, 1
    while at < len(content):
        mac, length = nonce + nonce, min(index, 8) * 131072
        for start in range(at, min(at + length, len(content)), 16):
            mac = box.update(xor(mac, content[start : min(start + 16, at + length)].ljust(16, b"\0")))
        whole = box.update(xor(whole, mac))
        at, index = at + length, index + 1
    return xor(whole[:4], whole[4:8])[-4:] + xor(whole[8:12], whole[12:])[-4:]


def link_with(mac, *, handle="AbCdEfGh"):
    seed = MegaKey.of_text(KEY)
    return f"https://mega.nz/#!{handle}!{MegaKey(seed.aes, seed.nonce, mac).text}"


def run_over(link, content, step=1 << 20):
    mac = ContentMac(link)
    for start in range(0, len(content), step):
        mac.update(content[start : start + step])
    return mac


def test_a_published_link_holds_the_known_key():
    link = MegaLink.parse(PUBLISHED)
    assert link.handle == "YK5GRARL"
    assert link.aes.hex() == "74ff7efadcb5db9fa9f945dff675f157"
    assert link.nonce.hex() == "6322734a0cc387e7"
    assert link.mac.hex() == MegaLink.parse(PUBLISHED).mac.hex() == "7ee0d49d2acf0183"


@pytest.mark.parametrize(
    "text",
    [
        f"https://mega.nz/#!YK5GRARL!{KEY}",
        f"http://mega.nz/#!YK5GRARL!{KEY}",
        f"https://www.mega.nz/#!YK5GRARL!{KEY}",
        f"https://mega.co.nz/#!YK5GRARL!{KEY}",
        f"https://mega.nz/#%21YK5GRARL%21{KEY}",
        f"https://mega.nz/file/YK5GRARL#{KEY}",
        f"https://mega.co.nz/file/YK5GRARL#{KEY}",
    ],
)
def test_every_form_of_link_means_the_same_file(text):
    assert MegaLink.parse(text) == MegaLink.parse(PUBLISHED)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://mega.nz/#F!YK5GRARL!abc", "leads to a folder"),
        ("https://mega.nz/folder/YK5GRARL#abc", "leads to a folder"),
        ("https://mega.nz/#!YK5GRARL", "key behind the handle is missing"),
        ("https://mega.nz/file/YK5GRARL#", "key behind the handle is missing"),
        (f"https://mega.nz/#!YK5GRAR!{KEY}", "handle is not 8"),
        (f"https://mega.nz/#!YK5GRA.L!{KEY}", "handle is not 8"),
        (f"https://mega.nz/#!YK5GRARL!{KEY[:-1]}", "but 42 characters"),
        (f"https://mega.nz/#!YK5GRARL!{KEY}\n", "no link to a file on mega.nz"),
        (f"https://mega.nz/#!YK5GRARL!{KEY})", "but 44 characters"),
        (f"https://mega.nz/#!YK5GRARL!{KEY[:-1]}N", "last character cannot end a key"),
        (f"https://mega.nz/#!YK5GRARL!{KEY[:-1]}é", "not 43 letters"),
        (f"https://mega.nz.evil.org/#!YK5GRARL!{KEY}", "no link to a file on mega.nz"),
        (f" https://mega.nz/#!YK5GRARL!{KEY}", "no link to a file on mega.nz"),
        ("", "no link to a file on mega.nz"),
    ],
)
def test_a_malformed_link_is_refused_for_good_and_says_why(text, words):
    with pytest.raises(SourceError, match=words) as caught:
        MegaLink.parse(text)
    assert caught.value.permanent
    assert KEY[:20] not in str(caught.value)


def test_the_key_is_not_shown_where_a_link_is_printed():
    assert MegaLink.parse(PUBLISHED).aes.hex() not in repr(MegaLink.parse(PUBLISHED)).replace("\\x", "")
    assert "aes" not in repr(MegaLink.parse(PUBLISHED))


def test_the_links_of_all_published_files_can_be_read():
    entries = yaml.safe_load(shared("facts").joinpath("checkpoints.yaml").read_text())
    links = [entry["seed_url"] for entry in entries if "mega" in (entry["seed_url"] or "")]
    assert len(links) > 40
    assert len({MegaLink.parse(link).mac for link in links}) == len(links)


@pytest.mark.parametrize("name", ["imagenet", "market1501", "msmt17"])
def test_the_real_files_have_the_macs_of_their_published_links(name, real_weights):
    entries = yaml.safe_load(shared("facts").joinpath("checkpoints.yaml").read_text())
    [link] = [entry["seed_url"] for entry in entries if entry["name"] == f"osnet_x0_25.{name}"]
    content = (real_weights / f"osnet_x0_25_{name}.pth").read_bytes()
    run_over(link, content).check()
    with pytest.raises(IntegrityError):
        run_over(link, content[:-1] + bytes([content[-1] ^ 1])).check()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [65_537, 1 << 20, 1 << 23])
def test_the_mac_does_not_depend_on_how_the_bytes_come(size, step):
    link, content = MegaLink.parse(PUBLISHED), os.urandom(size)
    assert run_over(link, content, step).compute() == content_mac(link.aes, link.nonce, content)


@pytest.mark.parametrize("size", SIZES[:9])
def test_the_mac_is_that_of_the_description(size):
    link, content = MegaLink.parse(PUBLISHED), os.urandom(size)
    assert run_over(link, content).compute() == plain_mac(link.aes, link.nonce, content)


def test_single_bytes_add_up_to_the_same_mac():
    link, content = MegaLink.parse(PUBLISHED), os.urandom(131_072 + 40)
    mac = ContentMac(link)
    for start in range(0, len(content), 7):
        mac.update(content[start : start + 7])
    assert mac.compute() == content_mac(link.aes, link.nonce, content)


def test_empty_content_has_a_mac_of_zeros():
    ContentMac(link_with(bytes(8))).check()
    with pytest.raises(IntegrityError):
        ContentMac(PUBLISHED).check()


def test_another_content_is_refused_with_both_macs():
    mac = run_over(mega_link("AbCdEfGh", b"a" * 1000), b"a" * 999 + b"b")
    with pytest.raises(IntegrityError, match=r"expected content of MAC [0-9a-f]{16}, got MAC [0-9a-f]{16}"):
        mac.check()


MIB = 1 << 20


def without_chunks(content, start, stop):
    """The MAC of ``content`` with the MACs of chunks [start, stop) left out, as faulty uploads had it."""
    key = MegaKey.of_text(KEY)
    macs, at = [], 0
    while at < len(content):
        length = min(len(macs) + 1, 8) * 131072
        part = content[at : at + length]
        padded = part + bytes(-len(part) % 16)
        macs.append(Cipher(AES(key.aes), CBC(key.nonce * 2)).encryptor().update(padded)[-16:])
        at += length
    kept = b"".join(macs[:start] + macs[stop:])
    whole = Cipher(AES(key.aes), CBC(bytes(16))).encryptor().update(kept)[-16:]
    words = [int.from_bytes(whole[i : i + 4]) for i in range(0, 16, 4)]
    return (words[0] ^ words[1]).to_bytes(4) + (words[2] ^ words[3]).to_bytes(4)


@pytest.fixture(scope="module")
def long_content():
    """8 chunks that grow to 1 MiB, 95 of 1 MiB and a short one: 104 in all, so that the run may start at the 9th."""
    return os.urandom(9 * MIB // 2 + 95 * MIB + 5)


@pytest.mark.parametrize(("start", "stop"), [(8, 9), (8, 72), (40, 104), (103, 104), (60, 63)])
def test_a_mac_that_leaves_out_a_late_run_of_chunks_passes_and_is_reported(start, stop, caplog, long_content):
    link = link_with(without_chunks(long_content, start, stop))
    with caplog.at_level(logging.WARNING, "reidhub"):
        run_over(link, long_content).check()
    assert f"leaves out chunks {start + 1} to {stop} of 104" in caplog.text


@pytest.mark.parametrize(("start", "stop"), [(7, 8), (7, 9), (8, 73), (39, 104), (0, 1)])
def test_a_mac_that_leaves_out_an_early_or_a_longer_run_is_refused(start, stop, long_content):
    with pytest.raises(IntegrityError):
        run_over(link_with(without_chunks(long_content, start, stop)), long_content).check()


def test_a_mac_that_leaves_out_every_chunk_says_nothing_and_is_refused():
    with pytest.raises(IntegrityError):
        run_over(link_with(bytes(8)), b"a" * 1000).check()


def test_a_changed_byte_is_not_taken_for_a_missing_chunk():
    content = bytearray(os.urandom(3 * MIB))
    link = mega_link("AbCdEfGh", bytes(content))
    content[2 * MIB] ^= 1
    with pytest.raises(IntegrityError):
        run_over(link, bytes(content)).check()
