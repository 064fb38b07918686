"""The command ``reidhub pin``: its lines, pasted into the manifest, pin the file."""

import json
import os

from support.zoo_entries import DRIVE, FILE_ID, entry, reidhub, write_zoo

from reidhub.files.digest import Digest
from reidhub.testing.hosts import Drive, Mega, mega_link
from reidhub.testing.internet import Internet
from reidhub.zoo.manifest import read_manifest

DATA = b"\x80\x02" + os.urandom(50_000)
DIGEST = Digest.of_bytes(DATA)
MEGA = mega_link("AbCdEfGh", DATA)


def hosts():
    return {**Mega({MEGA: DATA}).hosts, **Drive({FILE_ID: DATA}).hosts}


def pin(zoo, *args):
    with Internet(hosts()) as internet:
        done = reidhub("--manifest", zoo, "pin", *args, **internet.environment)
    return done, internet


def test_the_lines_pin_the_file_once_they_are_pasted(tmp_path):
    zoo = write_zoo(tmp_path, entry("a.maced", f"mega: {MEGA}"))
    done, _ = pin(zoo, "a.maced")
    assert done.returncode == 0, done.stderr
    text = zoo.read_text().replace("    file: {}\n", f"    file:\n{done.stdout}")
    zoo.write_text(text)
    (checkpoint,) = read_manifest([zoo]).checkpoints
    assert (checkpoint.artifact.digest, checkpoint.artifact.size) == (DIGEST, len(DATA))
    assert checkpoint.artifact.grade == "proven"
    assert checkpoint.artifact.evidence == "own download from mega; content agrees with the MAC in the Mega link"


def test_a_file_in_the_cache_is_not_downloaded_again(tmp_path):
    zoo = write_zoo(tmp_path, entry("a.maced", f"mega: {MEGA}"))
    pin(zoo, "a.maced")
    again, internet = pin(zoo, "a.maced")
    assert DIGEST.hex in again.stdout
    assert internet.log == []


def test_a_file_held_to_nothing_comes_with_a_warning(tmp_path):
    loose = entry("a.loose", f"gdrive: {DRIVE}")
    sized = entry("a.sized", f"gdrive: {DRIVE}", size=len(DATA), file="grade: single")  # the grade of the size
    done, _ = pin(write_zoo(tmp_path, loose, sized), "a.*", "--json")
    assert "neither sha256 nor MAC is known; compare" in done.stderr
    for item in json.loads(done.stdout):
        assert (item["sha256"], item["size"], item["checked_by"]) == (DIGEST.hex, len(DATA), "nothing")
        assert item["evidence"] == "own download from gdrive; checked by nothing"
        assert item["grade"] is None
    assert done.stdout.count(DIGEST.hex) == 2


def test_digits_in_the_authors_name_that_differ_are_reported_and_not_refused(tmp_path):
    entries = [
        entry("a.agrees", f"mega: {MEGA}", file=f'sha256_prefix: "{DIGEST.short}"'),
        entry("a.differs", f"mega: {MEGA}", "gdrive: " + DRIVE, file='sha256_prefix: "00000000"'),
    ]
    done, _ = pin(write_zoo(tmp_path, *entries), "a.*", "--json")
    assert done.returncode == 0
    assert [item["agrees_with_prefix"] for item in json.loads(done.stdout)] == [True, False]
    assert f"a.differs: the author's file name says sha256 00000000..., the file has {DIGEST}" in done.stderr


def test_a_pinned_file_is_said_to_be_so_and_one_that_fails_does_not_stop_the_rest(tmp_path):
    gone = mega_link("ZZZZZZZZ", DATA)
    zoo = write_zoo(
        tmp_path,
        entry("a.gone", f"mega: {gone}"),
        entry("a.pinned", f"mega: {MEGA}", pinned=DATA, file="grade: single"),
    )
    done, _ = pin(zoo, "a.*")
    assert done.returncode == 1
    assert "note: a.pinned: is pinned already" in done.stderr
    assert done.stderr.endswith("failed: a.gone\n")
    assert 'grade: single\n      evidence: "made for this test"' in done.stdout


def test_a_file_that_was_added_by_hand_is_not_called_a_download(tmp_path):
    zoo = write_zoo(tmp_path, entry("a.maced", f"mega: {MEGA}"))
    (tmp_path / "x.pth").write_bytes(DATA)
    assert reidhub("--manifest", zoo, "cache", "add", tmp_path / "x.pth").returncode == 0
    done, _ = pin(zoo, "a.maced")
    assert 'evidence: "file of unknown origin; content agrees' in done.stdout
    assert str(tmp_path) not in done.stdout.split("sha256:")[1]
