"""The files of the explorer: what is written, what is replaced, and what stays."""

import json
from pathlib import Path

import pytest
from support.explorer_inputs import PINNED, UNPINNED, Site
from support.full_disks import file_size_limit
from support.generated_zoo import files_below
from support.verify_runs import run_here
from support.zoo_entries import checkpoints, entry, write_zoo

from reidhub.errors import DiskFullError, UsageError
from reidhub.site.content import Content
from reidhub.site.write import write_site
from reidhub.zoo.describe import make_json
from reidhub.zoo.manifest import zoo

PLACE = "https: https://example.org/a.pth"


@pytest.fixture
def content(tmp_path: Path) -> Content:
    """Two checkpoints, ``a.one`` and ``a.two``."""
    return Content(tuple(checkpoints(tmp_path, entry("a.one", PLACE), entry("a.two", PLACE))), {}, {}, None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "site"


def test_the_same_inputs_give_the_same_bytes(site: Site, tmp_path: Path) -> None:
    write_site(site.content, tmp_path / "again")
    assert files_below(tmp_path / "again") == files_below(site.folder)
    assert len(files_below(site.folder)) == len(zoo().checkpoints) + 2


def test_index_json_has_the_fields_of_list_and_what_was_measured(site: Site) -> None:
    index = json.loads((site.folder / "index.json").read_text())
    assert (index["format"], index["made_by"]) == (1, "reidhub site")
    entries = {found["name"]: found for found in index["checkpoints"]}
    assert list(entries) == [checkpoint.name for checkpoint in zoo().checkpoints]
    for checkpoint in zoo().checkpoints:
        expected = make_json(checkpoint)
        found = entries[checkpoint.name]
        assert {name: found[name] for name in expected if name != "sources"} == {
            name: value for name, value in expected.items() if name != "sources"
        }
        assert [{k: s[k] for k in ("kind", "location")} for s in found["sources"]] == expected["sources"]
        assert (site.folder / found["page"]).is_file()
    assert [(one["verdict"], one["matched_by"]) for one in entries[PINNED]["measured"]] == [
        ("not comparable", "sha256"), ("close", "sha256"),
    ]  # fmt: skip
    assert entries[UNPINNED]["measured"][0]["figures"][0]["measured"] == pytest.approx(92.3)
    assert entries[PINNED]["sources"][0]["state"] == {
        "alive": True, "size": None, "reason": None, "permanent": False, "checked": "2026-11-27T18:00:00Z",
    }  # fmt: skip
    assert entries[UNPINNED]["sources"][0]["state"] is None


def test_pages_of_checkpoints_that_are_gone_are_removed_and_other_files_stay(content: Content, folder: Path) -> None:
    write_site(content, folder)
    (folder / "checkpoints" / "a.mine.html").write_text("mine")
    (folder / "notes.txt").write_text("mine")
    write_site(Content(content.checkpoints[:1], {}, {}, None), folder)
    assert files_below(folder).keys() == {
        "index.html", "index.json", "checkpoints/a.one.html", "checkpoints/a.mine.html", "notes.txt",
    }  # fmt: skip
    assert b"a.two" not in (folder / "index.html").read_bytes()


def test_a_folder_with_other_files_needs_force_which_removes_nothing(content: Content, folder: Path) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "old.html").write_text("mine")
    (folder / "index.html").write_text("mine")
    with pytest.raises(UsageError, match="is not empty: it has 'checkpoints'\nhint: --force replaces"):
        write_site(content, folder)
    assert (folder / "index.html").read_text() == "mine"
    write_site(content, folder, force=True)
    assert files_below(folder).keys() == {
        "index.html", "index.json", *(f"checkpoints/{name}.html" for name in ("a.one", "a.two", "old")),
    }  # fmt: skip


@pytest.mark.parametrize(
    "index",
    ["{}", "[]", "", '{"checkpoints": []}', '{"made_by": "mine", "checkpoints": []}', '{"made_by": "reidhub site"}'],
)
def test_another_index_json_is_no_earlier_site(content: Content, folder: Path, index: str) -> None:
    folder.mkdir(parents=True)
    (folder / "index.json").write_text(index)
    with pytest.raises(UsageError, match=r"is not empty: it has 'index\.json'"):
        write_site(content, folder)


def test_an_earlier_index_cannot_name_files_outside_of_the_site(content: Content, folder: Path) -> None:
    write_site(content, folder)
    (folder.parent / "victim.html").write_text("mine")
    index = json.loads((folder / "index.json").read_text())
    index["checkpoints"] += [{"name": "../../victim"}, {"name": 5}, "text", {"name": "a.never"}]
    (folder / "index.json").write_text(json.dumps(index))
    write_site(content, folder)
    assert (folder.parent / "victim.html").read_text() == "mine"


def test_an_empty_folder_is_filled(content: Content, folder: Path) -> None:
    folder.mkdir(parents=True)
    assert write_site(content, folder) == folder / "index.html"
    assert len(files_below(folder)) == 4 and [path.name for path in folder.parent.iterdir()] == ["site"]


def test_a_file_in_the_place_of_the_folder_is_an_error(content: Content, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"expected a folder, but .* is a file"):
        write_site(content, tmp_path / "file")
    with pytest.raises(UsageError, match="cannot write the site into"):
        write_site(content, tmp_path / "file" / "below")


def test_a_full_disk_leaves_no_part_of_a_new_site(content: Content, folder: Path) -> None:
    with file_size_limit(8192), pytest.raises(DiskFullError, match="cannot write the site into"):
        write_site(content, folder)
    assert files_below(folder.parent) == {}


def test_the_command_shows_users_manifests_and_prints_the_start_page(tmp_path: Path, monkeypatch, capsys) -> None:
    manifest = write_zoo(tmp_path, entry("a.one", PLACE))
    monkeypatch.setattr("reidhub.zoo.manifest.folder", lambda: tmp_path / "none")
    done = run_here(monkeypatch, capsys, "--manifest", str(manifest), "site", str(tmp_path / "site"))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path}/site/index.html\n", "")
    assert files_below(tmp_path / "site").keys() == {"index.html", "index.json", "checkpoints/a.one.html"}


def test_the_command_says_which_results_are_left_out(site: Site, tmp_path: Path, monkeypatch, capsys) -> None:
    receipt = site.folder.parent / "second.json"
    content = json.loads(receipt.read_text())
    content["results"][1].update(checkpoint="other.pth")
    (tmp_path / "r.json").write_text(json.dumps(content))
    done = run_here(monkeypatch, capsys, "site", str(tmp_path / "site"), "--receipt", str(tmp_path / "r.json"))
    note = f"note: {tmp_path}/r.json: 1 of 2 results belong to no checkpoint of the zoo\n"
    assert (done.returncode, done.stderr) == (0, note)
    done = run_here(monkeypatch, capsys, "site", str(tmp_path / "site2"), "--links", str(tmp_path / "r.json"))
    assert done.returncode == 2 and "is not a list of links" in done.stderr and not (tmp_path / "site2").exists()
