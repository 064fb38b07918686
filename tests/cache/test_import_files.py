"""Files of this machine come into the cache, once it is known which checkpoint they are."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.stored_files import damage
from support.zoo_entries import DRIVE, checkpoints, entry

from reidhub.cache.import_files import Importer, list_files
from reidhub.cache.store import Cache
from reidhub.testing.hosts import mega_link

PINNED = b"\x80\x02pinned" + os.urandom(200_000)
MACED = b"\x80\x02mac" + os.urandom(300_000)
SHM = Path("/dev/shm")
LOOSE = b"\x80\x02loose" + os.urandom(1000)
MEGA = mega_link("AbCdEfGh", MACED)
ENTRIES = (
    entry("a.pinned", "https: https://example.org/a", pinned=PINNED),
    entry("a.maced", f"mega: {MEGA}"),
    entry("a.other", f"mega: {mega_link('ZbCdEfGh', LOOSE + b'x')}"),
    entry("a.loose", f"gdrive: {DRIVE}"),
)


@pytest.fixture
def zoo(tmp_path):
    return checkpoints(tmp_path, *ENTRIES)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def given(tmp_path, body, name="x.pth"):
    path = tmp_path / "outside" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(body)
    path.chmod(0o644)
    return path


def nobody(path, candidates):
    return []


def adopt(path, cache, zoo, by_content=nobody, **options):
    return Importer(cache, tuple(zoo), by_content, **options).add(path)


@pytest.mark.parametrize(("body", "number", "held_to"), [(PINNED, 0, "sha256"), (MACED, 1, "mega-mac")])
def test_a_file_is_known_by_its_sha256_or_mac_and_found_from_then_on(body, number, held_to, tmp_path, cache, zoo):
    path = given(tmp_path, body)
    result = adopt(path, cache, zoo)
    assert (result.state, result.names, result.checked_by) == ("added", (zoo[number].name,), held_to)
    found = cache.find(zoo[number].artifact)
    assert found.read_bytes() == body
    assert cache.read_entry(cache.read_pin(zoo[number].artifact) or zoo[number].artifact.digest).source == path.as_uri()
    assert adopt(path, cache, zoo).state == "known"


def test_a_file_shares_its_disk_space_with_the_cache_and_stays_as_it_is(tmp_path, cache, zoo):
    path = given(tmp_path, PINNED)
    path.chmod(0o444)
    before = path.stat()
    assert adopt(path, cache, zoo).linked
    found, after = cache.find(zoo[0].artifact), path.stat()
    assert found.samefile(path)
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (before.st_mode, before.st_mtime_ns, 2)
    assert [p.name for p in cache.files.iterdir() if p.name.startswith(".")] == []


def test_a_copy_is_made_where_it_is_asked_for_or_others_could_not_read_the_file(tmp_path, cache, zoo):
    path = given(tmp_path, PINNED)
    assert not adopt(path, cache, zoo, link=False).linked
    assert not cache.find(zoo[0].artifact).samefile(path)
    private = given(tmp_path, MACED, "y.pth")
    private.chmod(0o600)
    assert not adopt(private, cache, zoo).linked
    assert cache.find(zoo[1].artifact).stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(not SHM.is_dir() or SHM.stat().st_dev == Path.home().stat().st_dev, reason="no second disk")
def test_a_file_on_another_disk_is_copied(tmp_path, zoo):
    cache = Cache(tmp_path / "cache")
    with TemporaryDirectory(dir=SHM) as other:
        result = adopt(given(Path(other), PINNED), cache, zoo)
    assert (result.state, result.linked) == ("added", False)
    assert cache.find(zoo[0].artifact).read_bytes() == PINNED
    assert [p.name for p in cache.files.iterdir() if p.name.startswith(".")] == []


def test_a_linked_file_that_is_changed_behind_the_caches_back_is_not_handed_out(tmp_path, cache, zoo):
    path = given(tmp_path, PINNED)
    assert adopt(path, cache, zoo).linked
    damage(path)
    assert cache.find(zoo[0].artifact) is None
    assert path.exists()


def test_a_link_is_followed_to_the_file(tmp_path, cache, zoo):
    link = tmp_path / "link.pth"
    link.symlink_to(given(tmp_path, PINNED))
    assert adopt(link, cache, zoo).linked
    assert not cache.find(zoo[0].artifact).is_symlink()


def test_a_file_of_several_checkpoints_is_known_for_all_of_them(tmp_path, cache):
    zoo = checkpoints(tmp_path, *ENTRIES, entry("a.twin", "gdrive: " + DRIVE, f"mega: {MEGA}"))
    assert adopt(given(tmp_path, MACED), cache, zoo).names == ("a.maced", "a.twin")
    assert all(cache.find(checkpoint.artifact) for checkpoint in (zoo[1], zoo[4]))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "expected a checkpoint file, got 0 bytes"),
        (b"<html><title>Quota exceeded</title>", 'of text/html ("Quota exceeded")'),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "point to a file in Git LFS"),
        (b"\x80\x02 something else", "is no file that the manifest knows (sha256 "),
        (PINNED[:-1], "is no file that the manifest knows (sha256 "),
    ],
    ids=["empty", "page", "pointer", "unknown", "cut"],
)
def test_what_is_no_checkpoints_file_is_refused_with_a_reason(body, words, tmp_path, cache, zoo):
    result = adopt(given(tmp_path, body), cache, zoo)
    assert result.state == "refused"
    assert words in result.reason
    assert not cache.root.exists()


def test_what_is_no_file_is_refused(tmp_path, cache, zoo):
    os.mkfifo(tmp_path / "pipe")
    assert adopt(tmp_path / "pipe", cache, zoo).reason == "is no regular file"
    assert adopt(tmp_path / "none", cache, zoo).reason == "is no regular file"


def test_content_is_asked_only_about_checkpoints_that_nothing_else_tells(tmp_path, cache, zoo):
    asked = []

    def by_content(path, candidates):
        asked.append([checkpoint.name for checkpoint in candidates])
        return candidates

    result = adopt(given(tmp_path, LOOSE), cache, zoo, by_content)
    assert asked == [["a.loose"]]
    assert (result.names, result.checked_by) == (("a.loose",), "nothing")
    adopt(given(tmp_path, PINNED), cache, zoo, by_content)
    assert len(asked) == 1


def test_another_file_than_the_first_download_is_refused(tmp_path, cache, zoo):
    def by_content(path, candidates):
        return candidates

    adopt(given(tmp_path, LOOSE), cache, zoo, by_content)
    result = adopt(given(tmp_path, LOOSE + b"another", "y.pth"), cache, zoo, by_content)
    assert result.state == "refused"
    assert "the first download had sha256" in result.reason
    assert cache.find(zoo[3].artifact).read_bytes() == LOOSE


def test_a_broken_file_in_the_cache_is_replaced(tmp_path, cache, zoo):
    path = given(tmp_path, PINNED)
    adopt(path, cache, zoo, link=False)
    damage(cache.find(zoo[0].artifact))
    assert adopt(path, cache, zoo, link=False).state == "added"
    assert cache.find(zoo[0].artifact).read_bytes() == PINNED


def test_a_file_of_the_cache_itself_is_remembered_again(tmp_path, cache, zoo):
    adopt(given(tmp_path, MACED), cache, zoo)
    path = cache.find(zoo[1].artifact)
    cache.remove_pin(zoo[1].artifact)
    assert adopt(path, cache, zoo).state == "added"
    assert cache.find(zoo[1].artifact).read_bytes() == MACED
    assert [p.name for p in cache.files.iterdir() if p.name.startswith(".")] == []


def test_files_of_folders_come_by_name_and_hidden_ones_not_at_all(tmp_path):
    root = tmp_path / "root"
    for name in ("b/2.pth", "b/1.pth", "a.pth", ".hidden.pth", ".git/x.pth", "b/c/3"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    found = [str(path.relative_to(root)) for path in list_files(root)]
    assert found == ["a.pth", "b/1.pth", "b/2.pth", "b/c/3"]
    assert list(list_files(root / ".hidden.pth")) == [root / ".hidden.pth"]
