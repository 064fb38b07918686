"""Mega over the loopback internet: what its API and its storage hosts do to a download."""

import base64
import hashlib
import json
import os
import random
import re
import time
import tracemalloc
from dataclasses import replace

import pytest
import yaml
from support.faults import QUICK, drop, endless, flip, longer, say, shorter, spoiled, stall, status
from support.generated_zoo import File
from support.paths import shared

from reidhub.cache.store import Cache
from reidhub.download.fetch import Fetcher, FetchOptions
from reidhub.download.sources import Resume
from reidhub.download.sources.mega import open_stream
from reidhub.errors import FetchError, IntegrityError, SourceError
from reidhub.testing.hosts import Mega, mega_link
from reidhub.testing.internet import Response, online
from reidhub.zoo.artifact import Artifact, Source

MIB = 1 << 20
DATA = b"\x80\x02" + random.Random(1).randbytes(3 * MIB + 77_777)
LINK = mega_link("AbCdEfGh", DATA)
BUSY = json.dumps([{"s": len(DATA), "at": "", "e": -17, "tl": 2460}])


def hosts(*, api=(), storage=(), api_always=None, storage_always=None, data=DATA, link=LINK):
    mega = Mega({link: data})
    return {
        mega.API: spoiled(mega.api, *api, always=api_always),
        mega.STORAGE: spoiled(mega.storage, *storage, always=storage_always),
    }


def read(link=LINK, patience=QUICK, **options):
    with open_stream(link, patience=patience, **options) as stream:
        return b"".join(stream.chunks)


def fetch_unpinned(folder):
    """Fetch the file into a cache, which checks it by the MAC in its link alone."""
    any_one = File("any", b"any").checkpoint(folder)
    checkpoint = replace(any_one, artifact=Artifact(None, None, (Source("mega", LINK),)))
    return Fetcher(Cache(folder / "cache"), FetchOptions(patience=QUICK)).fetch(checkpoint).read_bytes()


def refused(patience=QUICK, **faults):
    with online(hosts(**faults)) as internet, pytest.raises(SourceError) as caught:
        read(patience=patience)
    return caught.value, internet


def storage_paths(internet):
    return [request.path for request in internet.requests(Mega.STORAGE)]


@pytest.mark.parametrize("size", [1, 15, 16, 17, 131071, 131072, 131073, 393221, 4718592, 5767171])
def test_a_file_of_any_size_comes_whole(size):
    data = b"\x80" + random.Random(size).randbytes(size - 1)
    link = mega_link("SizesSiz", data)
    with online(hosts(link=link, data=data)):
        assert read(link) == data


@pytest.mark.parametrize("name", ["imagenet", "market1501", "msmt17"])
def test_the_real_files_come_through_their_published_links(name, real_weights):
    entries = yaml.safe_load(shared("facts").joinpath("checkpoints.yaml").read_text())
    [entry] = [entry for entry in entries if entry["name"] == f"osnet_x0_25.{name}"]
    content = (real_weights / f"osnet_x0_25_{name}.pth").read_bytes()
    with online(hosts(link=entry["seed_url"], data=content)):
        received = read(entry["seed_url"])
    assert hashlib.sha256(received).hexdigest() == entry["sha256"]


def test_the_question_asks_for_tls_and_nothing_goes_without():
    with online(hosts()) as internet:
        read()
    [question] = internet.requests(Mega.API)
    assert json.loads(question.body) == [{"a": "g", "g": 1, "ssl": 2, "p": "AbCdEfGh"}]
    assert re.fullmatch(r"/cs\?id=\d+", question.path)
    assert storage_paths(internet) == [f"/dl/AbCdEfGh/0-{len(DATA) - 1}"]
    assert question.headers["User-Agent"].startswith("reidhub/")


# --- the API -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [-2, -9, -11, -14, -15, -16])
@pytest.mark.parametrize("form", ["{0}", "[{0}]", '[{{"err":{0}}}]', '[{{"s":5,"at":"","e":{0}}}]'])
def test_a_permanent_error_is_asked_about_once(code, form):
    error, internet = refused(api_always=say(form.format(code)))
    assert error.permanent
    assert f"(error {code})" in error.message
    assert len(error.message) > 30
    assert len(internet.log) == 1


@pytest.mark.parametrize("code", [-3, -4, -6, -18, -19])
@pytest.mark.parametrize("form", ["{0}", "[{0}]", '[{{"err":{0}}}]'])
def test_a_passing_error_is_waited_for_with_the_same_question(code, form):
    with online(hosts(api=[say(form.format(code))] * 2)) as internet:
        assert read() == DATA
    questions = internet.requests(Mega.API)
    assert len(questions) == 3
    assert len({(request.path, request.body) for request in questions}) == 1


@pytest.mark.parametrize("code", [500, 502, 503, 429])
def test_a_host_in_trouble_is_asked_again(code):
    with online(hosts(api=[status(code)], storage=[status(code)] if code != 429 else [])) as internet:
        assert read() == DATA
    assert len(internet.requests(Mega.API)) == 2


def test_patience_with_the_api_ends():
    error, internet = refused(api_always=say("-3"))
    assert error.message == "the API asks to try again (error -3)"
    assert not error.permanent
    assert len(internet.log) == QUICK.attempts


def test_an_unknown_code_is_told_and_not_taken_for_permanent():
    error, internet = refused(api_always=say("-99"))
    assert (error.message, error.permanent, len(internet.log)) == ("the API refuses (error -99)", False, 1)


@pytest.mark.parametrize("text", [BUSY, '[{"e":-17,"tl":2460}]'])
def test_a_used_up_quota_says_when_to_come_back(text):
    error, internet = refused(api_always=say(text))
    assert error.message == "quota of this address is used up; try again in 41 min"
    assert (error.retry_after_s, error.permanent, len(internet.log)) == (2460, False, 1)


def test_a_quota_without_a_time_is_not_waited_for_either():
    error, internet = refused(api_always=say("-17"))
    assert error.message == "quota of this address is used up; try again in some hours"
    assert (error.retry_after_s, len(internet.log)) == (None, 1)


ODD = ["", "null", "[]", "{}", "[[]]", "0", "true", '"-9"', "[-3,-3]", '[{"s":-1,"g":"https://a"}]']
ODD += ['[{"s":true,"g":"https://a"}]', '[{"s":9,"g":["https://a"]}]']


ODD += ["-" + "9" * 4000, f'[{{"e":-{"9" * 4000}}}]', f'[{{"s":{"9" * 4000},"g":"https://a"}}]', '{"e":-9.5}']
ODD += ["[" * 60_000, f'[{{"e":-17,"tl":1{"0" * 400}}}]', f'[{{"s":1{"0" * 5000},"g":"https://a"}}]']


@pytest.mark.parametrize("text", ODD)
def test_an_answer_of_another_shape_is_an_error_not_a_crash(text):
    error, _ = refused(api_always=say(text))
    assert "API" in error.message or "quota" in error.message


def test_a_page_instead_of_json_is_quoted():
    error, _ = refused(api_always=say("<html><title>Airport Wi-Fi</title></html>"))
    assert error.message == 'the API answered with 41 bytes that are no JSON ("Airport Wi-Fi")'


def test_an_address_without_tls_is_never_followed():
    offer = json.dumps([{"s": len(DATA), "at": "", "g": f"http://{Mega.STORAGE}/dl/AbCdEfGh"}])
    error, internet = refused(api_always=say(offer))
    assert "without TLS" in error.message
    assert len(internet.log) == 1


ADDRESSES = ["https://[::1", "https://", "", "https://u:p@example.org/a", "//example.org/a", "https://[\\ud800]/"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_malformed_address_is_never_followed(address):
    error, internet = refused(api_always=say(f'[{{"s":{len(DATA)},"at":"","g":"{address}"}}]'))
    assert error.message == "Mega offers an address that is malformed or without TLS, which is not followed"
    assert not error.permanent
    assert len(internet.log) == 1


def test_a_redirect_of_the_api_or_the_storage_is_not_followed():
    away = status(302, Location="https://example.org/")
    for faults in ({"api_always": away}, {"storage_always": away}):
        error, internet = refused(**faults)
        assert "302 Found" in error.message
        assert not internet.requests("example.org")


# --- proof of work -------------------------------------------------------------------------------------------------

TOKEN = base64.urlsafe_b64encode(bytes(range(48))).decode()


def puzzled(easiness):
    """The API, asking for a proof of work first."""
    mega = Mega({LINK: DATA})

    def api(request):
        proof = request.headers.get("X-Hashcash")
        if proof is None:
            return Response(402, headers={"X-Hashcash": f"1:{easiness}:1700000000:{TOKEN}"})
        version, token, prefix = proof.split(":")
        assert (version, token) == ("1", TOKEN)
        work = base64.urlsafe_b64decode(prefix + "==") + base64.urlsafe_b64decode(TOKEN) * 262144
        bound = (((easiness & 63) << 1) + 1) << ((easiness >> 6) * 7 + 3)
        return mega.api(request) if int(hashlib.sha256(work).hexdigest()[:8], 16) <= bound else Response(402)

    return {**mega.hosts, Mega.API: api}


@pytest.mark.parametrize("easiness", [255, 245])
def test_a_proof_of_work_is_done(easiness):
    with online(puzzled(easiness)) as internet:
        assert read() == DATA
    assert len(internet.requests(Mega.API)) == 2


def test_a_proof_of_work_that_takes_too_long_is_given_up():
    patience = replace(QUICK, puzzle_s=0.2)
    start = time.monotonic()
    with online(puzzled(0)), pytest.raises(SourceError, match="not found in 0 s") as caught:
        read(patience=patience)
    assert time.monotonic() - start < 5
    assert not caught.value.permanent


@pytest.mark.parametrize("header", ["", "2:192:1:" + TOKEN, "1:999:1:" + TOKEN, "1:192:1:short", "1:192"])
def test_a_proof_of_work_of_another_kind_is_not_attempted(header):
    error, _ = refused(api_always=status(402, X_Hashcash=header))
    assert "not known here" in error.message


# --- the storage host ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 17, 131_072, 500_001, 3 * MIB])
def test_a_dropped_connection_goes_on_where_it_was(at):
    with online(hosts(storage=[drop(at)])) as internet:
        assert read() == DATA
    assert storage_paths(internet) == [f"/dl/AbCdEfGh/{start}-{len(DATA) - 1}" for start in (0, at)]


def test_a_connection_cut_again_and_again_ends_well_while_there_is_progress():
    with online(hosts(storage_always=drop(200_000))) as internet:
        assert read() == DATA
    assert len(storage_paths(internet)) == -(-len(DATA) // 200_000)


def test_cuts_without_progress_end():
    error, internet = refused(storage=[drop(500_000)], storage_always=drop(0))
    assert error.message.endswith(f"after 500000 of {len(DATA)} bytes")
    assert len(storage_paths(internet)) == 1 + QUICK.attempts - 1


def test_cuts_with_little_progress_end_too():
    error, internet = refused(patience=replace(QUICK, connections=7), storage_always=drop(1))
    assert error.message.endswith(f"after 7 of {len(DATA)} bytes")
    assert len(storage_paths(internet)) == 7


def test_a_stalled_connection_is_left_and_gone_on_with():
    with online(hosts(storage=[stall(300_000)])) as internet:
        assert read() == DATA
    assert len(storage_paths(internet)) == 2


def test_all_time_ends():
    error, _ = refused(patience=replace(QUICK, total_s=0.3, read_s=5), storage_always=stall(300_000, 0.6))
    assert "not done after 0 s" in error.message


@pytest.mark.parametrize("code", [403, 404])
def test_an_expired_address_is_asked_for_anew(code):
    with online(hosts(storage=[status(code)])) as internet:
        assert read() == DATA
    assert len(internet.requests(Mega.API)) == 2


def test_an_address_that_expires_midway_is_asked_for_anew():
    with online(hosts(storage=[drop(500_000), status(403)])) as internet:
        assert read() == DATA
    assert [int(re.search(r"/(\d+)-", path)[1]) for path in storage_paths(internet)] == [0, 500_000, 500_000]
    assert len(internet.requests(Mega.API)) == 2


def test_addresses_that_never_work_are_not_asked_for_for_ever():
    error, internet = refused(storage_always=status(403))
    assert error.message == f"{Mega.STORAGE}: 403 Forbidden for one address after another"
    assert len(internet.requests(Mega.API)) == QUICK.attempts


def test_a_storage_quota_at_the_start_says_when_to_come_back():
    error, internet = refused(storage_always=status(509, X_MEGA_Time_Left="2460"))
    assert error.message == "quota of this address is used up; try again in 41 min"
    assert error.retry_after_s == 2460
    assert len(storage_paths(internet)) == 1


def test_a_storage_quota_midway_stops_with_the_state_to_go_on_later():
    faults = hosts(storage=[drop(2 * MIB), status(509, X_MEGA_Time_Left="60")])
    with online(faults) as internet:
        held = bytearray()
        with open_stream(LINK, patience=QUICK) as stream, pytest.raises(SourceError) as caught:
            for chunk in stream.chunks:
                held += chunk
        assert caught.value.retry_after_s == 60
        state = json.loads(json.dumps(stream.state))
        with open_stream(LINK, patience=QUICK, resume=Resume(len(held), state)) as stream:
            assert stream.offset == len(held) == 2 * MIB
            for chunk in stream.chunks:
                held += chunk
    assert bytes(held) == DATA
    assert storage_paths(internet)[-1] == f"/dl/AbCdEfGh/{stream.offset}-{len(DATA) - 1}"


def test_one_wrong_bit_is_found_at_the_end(tmp_path):
    with online(hosts(storage_always=flip(2 * MIB))), pytest.raises(FetchError) as caught:
        fetch_unpinned(tmp_path)
    assert re.search(r"expected content of MAC \w{16}, got MAC \w{16}$", caught.value.message)


def test_a_body_that_ends_early_again_and_again_is_an_error():
    error, _ = refused(storage=[shorter(16)], storage_always=status(200))
    assert error.message == f"Mega's storage ended the file after {len(DATA) - 16} of {len(DATA)} bytes"


def test_a_body_longer_than_the_file_is_an_error():
    error, _ = refused(storage_always=longer(16))
    assert isinstance(error, IntegrityError)
    assert error.message == (f"expected {len(DATA)} more of {len(DATA)} bytes, the storage host sends {len(DATA) + 16}")


def test_an_endless_body_is_left_at_the_size_of_the_file():
    error, _ = refused(storage_always=endless)
    assert isinstance(error, IntegrityError)


@pytest.mark.parametrize(("off", "words"), [(-16, "MAC"), (16, "ended the file")])
def test_a_size_that_is_not_the_file_s_is_found(off, words, tmp_path):
    offer = json.dumps([{"s": len(DATA) + off, "at": "", "g": f"https://{Mega.STORAGE}/dl/AbCdEfGh"}])
    with online(hosts(api_always=say(offer))), pytest.raises(FetchError, match=words):
        fetch_unpinned(tmp_path)


# --- going on later ------------------------------------------------------------------------------------------------


def half():
    """Bytes held after a break, and the state at that point."""
    with online(hosts()), open_stream(LINK, patience=QUICK) as stream:
        held = b""
        while len(held) < MIB:
            held += next(stream.chunks)
        return held, stream.state


@pytest.mark.parametrize("offset", [1, 15, 16, 131_072, 1_000_003, len(DATA) - 1])
def test_a_download_goes_on_at_the_very_byte(offset):
    _, state = half()
    with online(hosts()) as internet, open_stream(LINK, patience=QUICK, resume=Resume(offset, state)) as stream:
        assert stream.offset == offset
        assert b"".join(stream.chunks) == DATA[offset:]
    assert storage_paths(internet) == [f"/dl/AbCdEfGh/{offset}-{len(DATA) - 1}"]


def test_a_file_that_is_held_whole_needs_no_further_byte():
    _, state = half()
    with online(hosts()) as internet, open_stream(LINK, patience=QUICK, resume=Resume(len(DATA), state)) as stream:
        assert (stream.offset, b"".join(stream.chunks)) == (len(DATA), b"")
    assert storage_paths(internet) == []


def test_a_wrong_bit_behind_the_resume_is_found(tmp_path):
    with online(hosts(storage=[drop(2 * MIB)], storage_always=status(403))), pytest.raises(FetchError):
        fetch_unpinned(tmp_path)
    with online(hosts(storage=[flip(1000)])) as internet:
        assert fetch_unpinned(tmp_path) == DATA
    assert storage_paths(internet) == [f"/dl/AbCdEfGh/{start}-{len(DATA) - 1}" for start in (2 * MIB, 0)]


@pytest.mark.parametrize("state", [{}, {"size": 5}, {"size": None}, {"size": str(len(DATA))}])
def test_a_damaged_state_only_starts_over(state):
    with online(hosts()), open_stream(LINK, patience=QUICK, resume=Resume(MIB, state)) as stream:
        assert stream.offset == 0
        assert b"".join(stream.chunks) == DATA


def test_a_resume_behind_the_end_starts_over():
    _, state = half()
    with online(hosts()), open_stream(LINK, patience=QUICK, resume=Resume(len(DATA) + 1, state)) as stream:
        assert stream.offset == 0


def test_a_file_in_mebibytes_needs_little_memory():
    data = os.urandom(40 * MIB)
    link = mega_link("BigBigBi", data)
    with online(hosts(link=link, data=data)), open_stream(link) as stream:
        next(stream.chunks)
        tracemalloc.start()
        total = sum(len(chunk) for chunk in stream.chunks)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert total > 39 * MIB
    assert peak < 4 * MIB
