"""From a checkpoint to its file: the cache, the mirror, the sources in turn, and what a user is told."""

import logging
import socket
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support.faults import QUICK, drop, flip, header, say, shorter, spoiled, status
from support.generated_zoo import WEB, File, content, files_below, hosts, stored

from reidhub.cache.store import Cache
from reidhub.download.fetch import Fetcher, FetchOptions, fetch, is_offline_by_environment
from reidhub.errors import CacheError, CancelledError, FetchError
from reidhub.files.digest import Digest
from reidhub.testing.hosts import Drive, Mega, Static
from reidhub.testing.internet import Response, online

ONE = File("one", content(3_000_001))
TWO = File("two", content(200_000))
LOOSE = File("loose", content(2_500_000), pinned=False)
TERMS = FetchOptions(patience=QUICK)
GONE = say("[-9]")


def fetched(file, folder, **terms):
    folder.mkdir(exist_ok=True)
    return Fetcher(Cache(folder / "cache"), replace(TERMS, **terms)).fetch(file.checkpoint(folder))


def failure(file, folder, **terms):
    with pytest.raises(FetchError) as caught:
        fetched(file, folder, **terms)
    return caught.value


def spoil(*files, **edits):
    """The hosts of the files, some of them spoiled: ``MEGA_API``, ``MEGA_STORAGE``, ``DRIVE``, ``WEB``."""
    names = {"MEGA_API": Mega.API, "MEGA_STORAGE": Mega.STORAGE, "DRIVE": Drive.CONTENT, "WEB": WEB}
    world = hosts(list(files))
    for name, edit in edits.items():
        first, always = edit if isinstance(edit, tuple) else ((), edit)
        world[names[name]] = spoiled(world[names[name]], *first, always=always)
    return world


# --- the cache comes first -----------------------------------------------------------------------------------------


def test_second_fetch_opens_no_source(tmp_path):
    with online(hosts([ONE])) as internet:
        path = fetched(ONE, tmp_path)
        seen = len(internet.log)
        assert fetched(ONE, tmp_path) == path
    assert path.read_bytes() == ONE.data
    assert len(internet.log) == seen


def test_a_file_that_broke_in_the_cache_is_fetched_again(tmp_path):
    with online(hosts([ONE])):
        path = fetched(ONE, tmp_path)
        path.write_bytes(b"broken")
        assert fetched(ONE, tmp_path).read_bytes() == ONE.data


def test_an_unpinned_file_is_remembered_and_another_one_refused(tmp_path):
    loose = File("loose", LOOSE.data, kinds=("gdrive",), pinned=False)
    with online(hosts([loose])):
        path = fetched(loose, tmp_path)
        assert fetched(loose, tmp_path) == path
    path.unlink()
    other = content(2_500_000, seed=9)
    with online(hosts([loose], {"loose": other})):
        error = failure(loose, tmp_path)
    was, now = Digest.of_bytes(loose.data), Digest.of_bytes(other)
    assert f"the first download had sha256 {was}, this one has {now}" in error.message
    assert "remove" in error.hint


def test_a_first_part_of_the_sha256_that_differs_is_reported_and_not_refused(tmp_path, caplog):
    right, wrong = Digest.of_bytes(LOOSE.data).short, "0badc0de"
    for tag, prefix in (("right", right), ("wrong", wrong)):
        file = File(tag, LOOSE.data, kinds=("mega",), pinned=False, fields={"sha256_prefix": f"'{prefix}'"})
        with online(hosts([file])), caplog.at_level(logging.WARNING, "reidhub"):
            assert fetched(file, tmp_path / tag).read_bytes() == LOOSE.data
    assert caplog.messages == [
        f"osnet_x0_25.wrong: its sha256 begins with {right}, not {wrong} as its author's file name says; "
        "that may be older than the file"
    ]


@pytest.mark.parametrize("kind", ["mega", "gdrive"])
def test_an_unpinned_file_of_another_size_than_the_computed_ones_is_kept_with_a_warning(kind, tmp_path, caplog):
    size = len(LOOSE.data)
    for tag, sizes in (("one", f"{size}"), ("two", f"[7, {size}]"), ("wrong", "[7, 8]")):
        fields = {"expected_size": sizes, "evidence": "computed"}
        file = File(tag, LOOSE.data, kinds=(kind,), pinned=False, fields=fields)
        with online(hosts([file])), caplog.at_level(logging.WARNING, "reidhub"):
            assert fetched(file, tmp_path / tag).read_bytes() == LOOSE.data
    assert caplog.messages == [
        f"osnet_x0_25.wrong: it has {size} bytes, not 7 or 8 as computed from its format; "
        "the host may have sent another file"
    ]


def test_a_pinned_file_of_another_size_than_the_computed_ones_causes_no_warning(tmp_path, caplog):
    fields = {"sha256": str(Digest.of_bytes(LOOSE.data)), "expected_size": "7", "evidence": "published"}
    file = File("right", LOOSE.data, kinds=("mega",), pinned=False, fields=fields)
    with online(hosts([file])), caplog.at_level(logging.WARNING, "reidhub"):
        assert fetched(file, tmp_path).read_bytes() == LOOSE.data
    assert caplog.messages == []


@pytest.mark.parametrize("kind", ["mega", "gdrive", "https"])
def test_a_disk_without_room_is_told_before_the_file_comes(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=len(ONE.data) - 1))
    with online(hosts([ONE])), pytest.raises(CacheError, match=f"expected room for {len(ONE.data)} bytes"):
        fetched(ONE, tmp_path, kind=kind)
    assert files_below(tmp_path / "cache") == {}


# --- the order of sources ------------------------------------------------------------------------------------------


def asked(internet):
    known = {Mega.API: "mega", Mega.STORAGE: "mega", Drive.FRONT: "gdrive", Drive.CONTENT: "gdrive", WEB: "https"}
    return list(dict.fromkeys(known[request.host] for request in internet.log))


@pytest.mark.parametrize("order", [("mega", "gdrive", "https"), ("https", "mega"), ("gdrive", "https", "mega")])
def test_the_first_source_in_the_manifest_is_asked_and_no_other(order, tmp_path):
    file = File("order", ONE.data, kinds=order)
    with online(hosts([file])) as internet:
        assert fetched(file, tmp_path).read_bytes() == file.data
    assert asked(internet) == [order[0]]


def test_sources_are_asked_in_turn_until_one_gives_the_file(tmp_path):
    with online(spoil(ONE, MEGA_API=GONE, DRIVE=status(404))) as internet:
        assert fetched(ONE, tmp_path).read_bytes() == ONE.data
    assert asked(internet) == ["mega", "gdrive", "https"]


def test_a_file_that_is_not_the_one_wanted_is_a_reason_to_ask_the_next_source(tmp_path):
    with online({**hosts([ONE], {"one": TWO.data}), WEB: Static({"/one.pth": ONE.data})}):
        assert fetched(ONE, tmp_path).read_bytes() == ONE.data


def by_hand(file, folder):
    """The last lines of an error: where a user gets the file, and where it belongs."""
    return [*(f"  address: {file.location(kind)}" for kind in file.kinds), f"  cache folder: {folder}/cache"]


def test_the_error_names_every_source_with_its_reason(tmp_path):
    page = status(200, b"<html><title>Google Drive - Quota exceeded</title></html>", Content_Type="text/html")
    busy = say('[{"s":5,"at":"","e":-17,"tl":2460}]')
    with online(spoil(ONE, MEGA_API=busy, DRIVE=page, WEB=status(404))):
        error = failure(ONE, tmp_path)
    assert str(error).splitlines() == [
        f"none of 3 sources gave osnet_x0_25.one (sha256 {Digest.of_bytes(ONE.data).short}...)",
        "  mega    quota of this address is used up; try again in 41 min",
        '  gdrive  expected the file, got 57 bytes of text/html ("Quota exceeded")',
        f"  https   {WEB}: 404 Not Found",
        "hint: try again later, or fetch the file by hand, then `reidhub cache add FILE`",
        *by_hand(ONE, tmp_path),
    ]
    assert files_below(tmp_path / "cache") == {}


def test_where_nothing_can_change_nobody_is_told_to_try_again(tmp_path):
    file = File("gone", ONE.data, kinds=("mega",))
    with online(spoil(file, MEGA_API=GONE)):
        error = failure(file, tmp_path)
    assert error.message.startswith("the only source did not give osnet_x0_25.gone (sha256")
    assert error.hint == "fetch the file by hand, then `reidhub cache add FILE`"


@pytest.mark.parametrize("kind", ["mega", "gdrive", "https"])
def test_a_kind_that_is_insisted_on_is_the_only_one_asked(kind, tmp_path):
    with online(hosts([ONE])) as internet:
        assert fetched(ONE, tmp_path, kind=kind).read_bytes() == ONE.data
    assert asked(internet) == [kind]


def test_a_kind_that_a_checkpoint_does_not_have_is_told(tmp_path):
    error = failure(ONE, tmp_path, kind="local")
    assert error.message.endswith("has no source of kind local")
    assert error.hint == "its kinds are mega, gdrive, https"


# --- hosts that are down -------------------------------------------------------------------------------------------


def test_a_host_that_is_down_is_not_asked_for_the_next_file(tmp_path):
    world = {name: host for name, host in hosts([ONE, TWO]).items() if name not in Mega({}).hosts}
    resolver = Fetcher(Cache(tmp_path / "cache"), TERMS)
    with online(world) as internet:
        resolver.fetch(ONE.checkpoint(tmp_path))
        seen = len(internet.requests(Mega.API))
        resolver.fetch(TWO.checkpoint(tmp_path))
    assert seen == 2
    assert len(internet.requests(Mega.API)) == seen


def test_a_source_that_was_left_out_is_told_with_the_reason(tmp_path):
    busy = say('[{"e":-17,"tl":2460}]')
    world = spoil(ONE, TWO, MEGA_API=busy, DRIVE=status(503), WEB=status(404))
    resolver = Fetcher(Cache(tmp_path / "cache"), TERMS)
    with online(world) as internet:
        for file in (ONE, TWO):
            with pytest.raises(FetchError) as caught:
                resolver.fetch(file.checkpoint(tmp_path))
    assert caught.value.message.splitlines()[1:] == [
        "  mega    not asked again after osnet_x0_25.one: quota of this address is used up; try again in 41 min",
        "  gdrive  not asked again after osnet_x0_25.one: drive.usercontent.google.com: 503 Service Unavailable",
        f"  https   {WEB}: 404 Not Found",
    ]
    assert len(internet.requests(Mega.API)) == 1


def test_a_file_with_two_sources_on_a_host_that_is_down_is_not_told_of_itself(tmp_path):
    one = File("one", ONE.data, kinds=("https",)).checkpoint(tmp_path)
    (first,) = one.artifact.sources
    second = replace(first, location=f"https://{WEB}/elsewhere.pth")
    twice = replace(one, artifact=replace(one.artifact, sources=(first, second)))
    with online(spoil(ONE, WEB=status(503))), pytest.raises(FetchError) as caught:
        Fetcher(Cache(tmp_path / "cache"), TERMS).fetch(twice)
    assert caught.value.message.splitlines()[2] == f"  https  not asked again: {WEB}: 503 Service Unavailable"


def test_where_no_host_was_reached_the_hint_asks_about_network_and_proxy(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("HTTPS_PROXY", nobody)
    resolver = Fetcher(Cache(tmp_path / "cache"), TERMS)
    for file in (ONE, TWO):  # the second is told what the first one met
        with pytest.raises(FetchError) as caught:
            resolver.fetch(file.checkpoint(tmp_path))
        assert caught.value.hint.startswith(
            "is there a network, or a proxy to be set in $HTTPS_PROXY? If so, try again"
        )
    assert caught.value.message.count("not asked again after osnet_x0_25.one: ") == 3


def test_what_is_wrong_with_one_file_is_not_held_against_its_host(tmp_path):
    resolver = Fetcher(Cache(tmp_path / "cache"), TERMS)
    with online(spoil(ONE, TWO, MEGA_API=((GONE,), None))) as internet:
        for file in (ONE, TWO):
            resolver.fetch(file.checkpoint(tmp_path))
    assert internet.log[-1].host == Mega.STORAGE


def test_a_short_quota_is_waited_for_and_told(tmp_path, caplog):
    once = (status(509, X_MEGA_Time_Left="2"),)
    patient = replace(QUICK, longest_pause_s=3)
    with online(spoil(ONE, MEGA_STORAGE=(once, None))) as internet, caplog.at_level(logging.WARNING, "reidhub"):
        assert fetched(ONE, tmp_path, patience=patient).read_bytes() == ONE.data
    assert asked(internet) == ["mega"]
    assert "quota of this address is used up; try again in 2 s; the next attempt is in 2 s" in caplog.messages


# --- going on with what was left -----------------------------------------------------------------------------------


def broken_off(file, folder, *cuts):
    """A first run that Mega's storage or the web host cut short."""
    name = "MEGA_STORAGE" if file.kinds[0] == "mega" else "WEB"
    with online(spoil(file, **{name: (cuts, status(403) if name == "MEGA_STORAGE" else status(503))})):
        failure(file, folder, kind=file.kinds[0])
    (part,) = (folder / "cache" / "partial").glob("*.part")
    return part


KINDS = [("mega", True), ("mega", False), ("https", True), ("https", False)]


@pytest.mark.parametrize(("kind", "pinned"), KINDS)
def test_a_later_run_goes_on_where_an_earlier_one_was_cut_short(kind, pinned, tmp_path):
    file = File("cut", ONE.data, kinds=(kind, *{"mega", "https"} - {kind}), pinned=pinned)
    part = broken_off(file, tmp_path, drop(2_000_000))
    assert part.read_bytes() == ONE.data[:2_000_000]
    with online(hosts([file])) as internet:
        assert fetched(file, tmp_path, kind=kind).read_bytes() == ONE.data
    last = internet.log[-1]
    start = int(last.path.split("/")[-1].split("-")[0] if kind == "mega" else last.headers["Range"][6:-1])
    assert 2_000_000 - (1 << 20) < start <= 2_000_000
    assert list((tmp_path / "cache" / "partial").iterdir()) == []


@pytest.mark.parametrize(("kind", "pinned"), KINDS)
@pytest.mark.parametrize("damage", ["flip", "shorter", "longer", "note"])
def test_damage_to_what_was_left_costs_the_bytes_and_nothing_else(damage, kind, pinned, tmp_path):
    file = File("cut", ONE.data, kinds=(kind, *{"mega", "https"} - {kind}), pinned=pinned)
    part = broken_off(file, tmp_path, drop(2_000_000))
    held = part.read_bytes()
    note = part.with_suffix(".notes")
    changed = {"flip": held[:9] + b"\0\1" + held[11:], "shorter": held[:-9], "longer": held + b"more"}
    part.write_bytes(changed.get(damage, held))
    if damage == "note":
        note.write_text(note.read_text().replace('"offset": 2', '"offset": 1'))
    with online(hosts([file])):
        assert fetched(file, tmp_path, kind=kind).read_bytes() == ONE.data
    assert list((tmp_path / "cache" / "partial").iterdir()) == []


@pytest.mark.parametrize("pinned", [True, False])
def test_a_file_that_was_replaced_meanwhile_is_not_joined_to_what_was_left(pinned, tmp_path):
    file = File("cut", ONE.data, kinds=("https", "mega"), pinned=pinned)
    broken_off(file, tmp_path, drop(2_000_000))
    other = content(len(ONE.data), seed=5)
    with online({WEB: Static({"/cut.pth": other})}) as internet:
        error = failure(file, tmp_path, kind="https")
    assert ("expected sha256" if pinned else "expected content of MAC") in error.message
    assert internet.log[0].headers["If-Range"] == f'"{Digest.of_bytes(ONE.data).hex[:16]}"'
    assert files_below(tmp_path / "cache") == {}


def test_a_host_that_lies_about_what_the_rest_belongs_to_is_found_out_and_the_whole_asked_for(tmp_path):
    file = File("cut", ONE.data, kinds=("https",))
    broken_off(file, tmp_path, drop(2_000_000))
    same_tag = header(ETag=f'"{Digest.of_bytes(ONE.data).hex[:16]}"')
    with online(spoil(file, WEB=((lambda response: same_tag(flip(5)(response)),), None))) as internet:
        assert fetched(file, tmp_path).read_bytes() == ONE.data
    assert [request.headers.get("Range") for request in internet.log] == ["bytes=2000000-", None]


def test_what_one_source_left_is_never_gone_on_with_from_another(tmp_path):
    file = File("cut", ONE.data, kinds=("mega", "https"))
    broken_off(file, tmp_path, drop(2_000_000))
    with online(hosts([file])) as internet:
        assert fetched(file, tmp_path, kind="https").read_bytes() == ONE.data
    assert "Range" not in internet.log[0].headers
    assert list((tmp_path / "cache" / "partial").iterdir()) == []


def test_the_same_handle_with_another_key_starts_over(tmp_path):
    first = File("cut", ONE.data, kinds=("mega",))
    broken_off(first, tmp_path, drop(2_000_000))
    second = File("cut", content(len(ONE.data), seed=8), kinds=("mega",))
    assert first.location("mega").split("!")[1] == second.location("mega").split("!")[1]
    with online(hosts([second])) as internet:
        assert fetched(second, tmp_path).read_bytes() == second.data
    assert internet.requests(Mega.STORAGE)[0].path.endswith(f"/0-{len(ONE.data) - 1}")


def test_fresh_starts_over(tmp_path):
    file = File("cut", ONE.data, kinds=("mega",))
    broken_off(file, tmp_path, drop(2_000_000))
    with online(hosts([file])) as internet:
        assert fetched(file, tmp_path, fresh=True).read_bytes() == ONE.data
    assert internet.requests(Mega.STORAGE)[0].path.endswith(f"/0-{len(ONE.data) - 1}")
    assert list((tmp_path / "cache" / "partial").iterdir()) == []


def test_a_wrong_file_leaves_nothing_to_go_on_with(tmp_path):
    file = File("cut", ONE.data, kinds=("https",))
    with online(spoil(file, WEB=shorter(16))):
        failure(file, tmp_path)
    assert files_below(tmp_path / "cache") == {}


# --- cancellation --------------------------------------------------------------------------------------------------


def longest_file(folder):
    return max(map(len, files_below(folder).values()), default=0)


def test_stopped_download_raises_its_own_error_and_asks_no_further_source(tmp_path):
    stop = threading.Event()

    def stopping(response):
        body = response.body

        def blocks():
            yield body[:1_000_000]
            end = time.monotonic() + 20
            while time.monotonic() < end and longest_file(tmp_path / "cache") < 300_000:
                time.sleep(0.01)
            stop.set()
            yield body[1_000_000:]

        return Response(response.status, blocks(), {**response.headers, "Content-Length": str(len(body))})

    with online(spoil(ONE, MEGA_STORAGE=stopping)) as internet, pytest.raises(CancelledError, match="was stopped"):
        fetched(ONE, tmp_path, patience=replace(QUICK, stop=stop))
    assert asked(internet) == ["mega"]
    assert stored(tmp_path / "cache") == {}
    with online(hosts([ONE])) as internet:
        assert fetched(ONE, tmp_path).read_bytes() == ONE.data
    assert not internet.requests(Mega.STORAGE)[0].path.endswith(f"/0-{len(ONE.data) - 1}")


def test_error_of_the_last_source_after_a_stop_counts_as_cancellation(tmp_path):
    stop = threading.Event()

    def gone(response):
        stop.set()
        return GONE(response)

    with online(spoil(ONE, MEGA_API=gone)), pytest.raises(CancelledError):
        fetched(ONE, tmp_path, kind="mega", patience=replace(QUICK, stop=stop))


# --- offline -------------------------------------------------------------------------------------------------------


def no_sockets(*_, **__):
    raise AssertionError("a socket was opened")


def test_offline_opens_no_socket_and_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "socket", no_sockets)
    error = failure(ONE, tmp_path, offline=True)
    assert str(error).splitlines() == [
        f"osnet_x0_25.one (sha256 {Digest.of_bytes(ONE.data).short}...) is not in the cache, and reidhub is offline",
        "  mega    not asked: offline",
        "  gdrive  not asked: offline",
        "  https   not asked: offline",
        "hint: bring the file with `reidhub cache add FILE` or a mirror folder in REIDHUB_MIRROR; "
        "or go online: unset REIDHUB_OFFLINE, and leave out --offline; "
        "see the docs, page Mirrors and offline machines",
        *by_hand(ONE, tmp_path),
    ]


def test_offline_by_the_environment_what_is_on_this_machine_still_serves(tmp_path, monkeypatch):
    with online(hosts([ONE])):
        fetched(ONE, tmp_path)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / f"{TWO.name}.pth").write_bytes(TWO.data)
    monkeypatch.setattr(socket, "socket", no_sockets)
    monkeypatch.setenv("REIDHUB_OFFLINE", "1")
    monkeypatch.setenv("REIDHUB_MIRROR", str(tmp_path / "mirror"))
    assert fetched(ONE, tmp_path).read_bytes() == ONE.data
    assert fetch(TWO.checkpoint(tmp_path), Cache(tmp_path / "cache")).read_bytes() == TWO.data


@pytest.mark.parametrize(("text", "offline"), [("", False), ("0", False), ("no", False), ("1", True), ("yes", True)])
def test_what_counts_as_offline(text, offline, monkeypatch):
    monkeypatch.setenv("REIDHUB_OFFLINE", text)
    assert is_offline_by_environment() == offline
