"""Files of others that `doctor` recognises by a digest: an example with every field, and those of the zoo."""

import hashlib
from pathlib import Path

import pytest
from support.local_zoos import Entry, write_zoo

import reidhub
from reidhub.diagnosis.known_files import compute_git_blob
from reidhub.errors import ManifestError
from reidhub.zoo.manifest import read_manifest, zoo

FILE = b"weights of somebody"
SHA256 = hashlib.sha256(FILE).hexdigest()
BLOB = hashlib.sha1(b"blob %d\0" % len(FILE) + FILE).hexdigest()
WRONG = "0badc0de"


@pytest.fixture
def stray(tmp_path: Path) -> Path:
    path = tmp_path / "stray.pth"
    path.write_bytes(FILE)
    return path


def add_known_files(folder: Path, monkeypatch: pytest.MonkeyPatch, *entries: str) -> None:
    """Add a manifest file with known files to the zoo."""
    lines = "".join(f"  - {{what: file {place}, evidence: x, {entry}}}\n" for place, entry in enumerate(entries))
    (folder / "known.yaml").write_text(f"checkpoints: []\nknown_files:\n{lines}")
    monkeypatch.setenv("REIDHUB_MANIFEST", str(folder / "known.yaml"))


@pytest.mark.parametrize(
    ("entry", "note"),
    [
        (f"sha256: {SHA256}", f"it is file 1 (its sha256 is {SHA256}; x)"),
        (f"git_blob: {BLOB}", f"it is file 1 (its git blob id is {BLOB}; x)"),
        (f"sha256_prefix: '{SHA256[:8]}'", f"it is probably file 1 (its sha256 begins with {SHA256[:8]}; x)"),
        (f"git_blob: '{BLOB[:8]}'", f"it is probably file 1 (its git blob id begins with {BLOB[:8]}; x)"),
        (f"git_blob: {BLOB}, likelihood: probably", f"it is probably file 1 (its git blob id is {BLOB}; x)"),
        (
            f"git_blob: '{BLOB[:9]}', likelihood: perhaps",
            f"it is perhaps file 1 (its git blob id begins with {BLOB[:9]}; x)",
        ),
        (
            f"sha256: {SHA256}, checkpoint: osnet_x0_25.msmt17",
            f"it is file 1 (its sha256 is {SHA256}; x); `reidhub download osnet_x0_25.msmt17` gets the published file",
        ),
    ],
)
def test_a_file_with_known_digits_gets_a_note_that_says_how_certain_it_is(entry, note, stray, tmp_path, monkeypatch):
    add_known_files(tmp_path, monkeypatch, f"sha256_prefix: '{WRONG}'", entry, f"git_blob: '{WRONG}'")
    for _ in ("parsed", "from the parsed copy"):
        assert [one for one in reidhub.doctor(stray).notes if "it is" in one] == [note]


def test_published_file_of_an_entry_has_no_such_note(stray, tmp_path, monkeypatch):
    own = Path(write_zoo(tmp_path, Entry("osnet_x0_25.own", FILE)))
    own.write_text(f"known_files: [{{what: a fake, evidence: x, sha256: {SHA256}}}]\n{own.read_text()}")
    monkeypatch.setenv("REIDHUB_MANIFEST", str(own))

    found = reidhub.doctor(stray)

    assert (found.entries, found.notes) == (("osnet_x0_25.own",), ())


def test_file_with_other_digits_has_no_such_note(stray, tmp_path, monkeypatch):
    add_known_files(
        tmp_path,
        monkeypatch,
        f"sha256_prefix: '{SHA256[1:9]}'",
        f"git_blob: '{BLOB[1:9]}'",
        f"git_blob: '{SHA256[:8]}'",
    )
    assert [one for one in reidhub.doctor(stray).notes if "it is" in one] == []


@pytest.mark.parametrize(
    ("content", "blob"),
    [
        (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        (b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
        (b"x" * 2**20, "fc26db1cf2fd25ac90dbf93eef0ebb92b51e8850"),
        (b"x" * (2**20 + 1), "ac5462351387e270a2042086c34a1ddbe11c0d19"),
    ],
    ids=["empty", "a line", "a block", "more than a block"],
)
def test_id_is_the_one_that_git_hash_object_prints(content, blob, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert compute_git_blob(tmp_path / "file") == blob


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("checkpoint: a.b", ":3: a known file has exactly one of sha256, sha256_prefix, git_blob"),
        (f"sha256: {SHA256}, git_blob: {BLOB}", ":3: a known file has exactly one of"),
        (f"sha256: {SHA256[:63]}", ":3: expected 64 lower-case hexadecimal digits"),
        ("sha256_prefix: 'abcdef1'", ":3: expected 8 to 64 lower-case hexadecimal digits, got 'abcdef1'"),
        (f"git_blob: {BLOB}0", ":3: expected 8 to 40 lower-case"),
        (f"git_blob: {BLOB.upper()}", ":3: expected 8 to 40 lower-case"),
        (f"git_blob: {BLOB}, likelihood: surely", ":3: expected one of probably, perhaps"),
        (f"git_blob: {BLOB}, size: 7", ":3: unknown field 'size'"),
    ],
)
def test_wrong_entry_is_an_error_with_file_and_line(entry, message, tmp_path, monkeypatch):
    add_known_files(tmp_path, monkeypatch, entry)
    with pytest.raises(ManifestError) as error:
        read_manifest([tmp_path / "known.yaml"])
    assert str(error.value).startswith(f"{tmp_path / 'known.yaml'}{message}")


def test_zoo_knows_eight_files_and_is_sure_of_none():
    known = {one.digits[:8]: one for one in zoo().known_files}
    assert {digits: one.likelihood for digits, one in known.items()} == {
        **dict.fromkeys(("ce171fe1", "510bceba", "57b31d7f", "34c24e98", "20e46f48", "deed851d"), "probably"),
        **dict.fromkeys(("adaf02d3", "db867feb"), "perhaps"),
    }
    assert {one.checkpoint for one in known.values()} - {None} <= set(zoo().by_name)
