"""Files on their way: nobody writes to another's, and what is left is gone on with only where it is what was noted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.damaged_json import DAMAGES, replace_content
from support.full_disks import file_size_limit
from support.generated_zoo import files_below

from reidhub.cache.partial_file import NOTES, IncomingFile, PartialFile
from reidhub.cache.store import Cache
from reidhub.errors import DiskFullError
from reidhub.files.digest import Digest
from reidhub.zoo.artifact import Artifact, Source

BODY = b"\x80" + os.urandom(499_999)
HERE = Source("https", "https://example.org/a.pth")
THERE = Source("https", "https://example.net/a.pth")
FILE = Artifact(Digest.of_bytes(BODY), len(BODY), (HERE, THERE))


def leave(folder: Path, data: bytes, noted: int) -> PartialFile:
    """What a process leaves that is killed behind its last note."""
    folder.mkdir(exist_ok=True)
    incoming = IncomingFile(folder, "left-", "a.b")
    with incoming:
        incoming.write(data[:noted])
        incoming.note({"validator": "x"})
        incoming.write(data[noted:])
    return PartialFile.read(incoming.path)


def test_what_was_noted_can_be_gone_on_with(tmp_path):
    left = leave(tmp_path, BODY, 300_000)
    assert (left.name, left.offset, left.size, left.state) == ("a.b", 300_000, len(BODY), {"validator": "x"})
    with IncomingFile(tmp_path) as incoming:
        assert incoming.resume_from(left)
        assert incoming.size == 300_000
        incoming.write(BODY[300_000:])
        assert incoming.digest == FILE.digest
    assert left.path.read_bytes() == BODY


@pytest.mark.parametrize("damage", [BODY[:299_999], b"\0" + BODY[1:300_000], b""], ids=["short", "flip", "empty"])
def test_what_is_not_what_was_noted_is_not_taken_over(damage, tmp_path):
    left = leave(tmp_path, BODY, 300_000)
    left.path.write_bytes(damage)
    with IncomingFile(tmp_path) as incoming:
        assert not incoming.resume_from(left)
        assert incoming.size == 0
        incoming.write(BODY)
        assert incoming.digest == FILE.digest
        assert incoming.path.read_bytes() == BODY


@pytest.mark.parametrize("note", ["", "{", "[]", '{"name": 1}', '{"name":"a","offset":"x","sha256":"","state":{}}'])
def test_a_damaged_note_says_nothing(note, tmp_path):
    left = leave(tmp_path, BODY, 300_000)
    left.path.with_suffix(NOTES).write_text(note)
    assert not PartialFile.read(left.path).resumable


@pytest.mark.parametrize("damage", DAMAGES)
def test_notes_with_any_other_content_say_nothing(damage, tmp_path):
    left = leave(tmp_path, BODY, 300_000)
    replace_content(left.path.with_suffix(NOTES), damage)
    assert PartialFile.read(left.path).offset == 0


def test_a_note_that_was_cut_short_leaves_the_one_before_it(tmp_path):
    left = leave(tmp_path, BODY, 300_000)
    notes = left.path.with_suffix(NOTES)
    line = notes.read_bytes()
    notes.write_bytes(line + line.replace(b"300000", b"400000")[:-20])
    assert PartialFile.read(left.path) == left


@pytest.mark.parametrize("size", [0, 1, 131_072, 300_000])
def test_what_is_cut_back_is_hashed_as_if_it_had_never_been_longer(size, tmp_path):
    with IncomingFile(tmp_path) as incoming:
        incoming.write(BODY[:300_000])
        incoming.truncate(size)
        incoming.write(BODY[size:])
        assert incoming.digest == FILE.digest
        assert incoming.path.read_bytes() == BODY


def test_a_file_that_is_still_being_written_is_neither_removed_nor_changed(tmp_path):
    with IncomingFile(tmp_path, "a-") as writer:
        writer.write(BODY[:300_000])
        writer.note({"validator": "x"})
        seen = PartialFile.read(writer.path)
        with IncomingFile(tmp_path, "b-") as other:
            assert other.resume_from(seen)
            writer.write(BODY[300_000:])
            other.write(bytes(1000))
            seen.remove_if_unchanged()
        assert writer.digest == FILE.digest
        assert writer.path.read_bytes() == BODY


def test_a_process_whose_file_was_taken_away_leaves_no_note_behind(tmp_path):
    with IncomingFile(tmp_path) as incoming:
        incoming.write(BODY)
        incoming.note({"validator": "x"})
        PartialFile.read(incoming.path).remove()
        incoming.note({"validator": "x"})
    assert files_below(tmp_path) == {}


def test_a_process_whose_file_was_taken_away_can_still_read_and_write_it(tmp_path):
    with IncomingFile(tmp_path) as incoming:
        incoming.write(BODY[:300_000])
        incoming.path.unlink()
        assert next(incoming.read_blocks()) == BODY[:300_000]
        incoming.write(BODY[300_000:])
        assert b"".join(incoming.read_blocks()) == BODY


def test_the_longest_beginning_of_the_same_file_from_the_same_place_is_found(tmp_path):
    cache = Cache(tmp_path)
    for source, noted in ((HERE, 1000), (HERE, 3000), (HERE, 2000), (THERE, 9000)):
        with cache.open_incoming(FILE, source, name="a.b") as incoming:
            incoming.write(BODY[:noted])
            incoming.note({"validator": "x"})
    assert cache.find_partial(FILE, HERE).offset == 3000
    other = Artifact(Digest.of_bytes(b"other"), len(BODY), FILE.sources)
    assert cache.find_partial(other, HERE) is None
    assert sorted(partial.offset for partial in cache.list_partials()) == [1000, 2000, 3000, 9000]
    cache.remove_partials(FILE)
    assert cache.list_partials() == []


def test_a_file_that_is_stored_leaves_no_beginnings_of_it(tmp_path):
    cache = Cache(tmp_path)
    for data in (BODY[:1000], BODY):
        with cache.open_incoming(FILE, HERE, name="a.b") as incoming:
            incoming.write(data)
            incoming.note({"validator": "x"})
            if data == BODY:
                cache.keep(incoming, FILE, name="a.b", source="s", checked_by="sha256")
    assert list(cache.partial.iterdir()) == []


def test_leftovers_of_every_kind_are_listed(tmp_path):
    cache = Cache(tmp_path)
    code = (
        "import os, sys, signal; from pathlib import Path; from reidhub.cache.store import Cache\n"
        "with Cache(Path(sys.argv[1])).open_incoming() as i: i.write(b'x' * 99); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -signal.SIGKILL
    (left,) = cache.list_partials()
    assert (left.size, left.resumable, left.name) == (99, False, "")
    left.remove()
    assert cache.list_partials() == []


def test_a_disk_that_fills_up_is_told_and_left_as_it_was(tmp_path):
    with (
        pytest.raises(DiskFullError, match=r"cannot write .*: File too large\nhint: make room"),
        file_size_limit(400_000),
        Cache(tmp_path).open_incoming(FILE, HERE, name="a.b") as incoming,
    ):
        incoming.write(BODY[:300_000])
        incoming.note({"validator": "x"})
        incoming.write(BODY[300_000:])
    assert files_below(tmp_path) == {}
