"""The loopback internet itself, seen with a client that is not ours."""

import os
import subprocess
import sys

import pytest
import requests

from reidhub.testing.hosts import Drive, Mega, MegaKey, Static, content_mac, encrypt, mega_link
from reidhub.testing.internet import Internet, online

DATA = bytes(range(256)) * 20


def test_a_host_answers_under_its_real_name_with_real_tls():
    with online({"huggingface.co": Static({"/a": DATA})}):
        assert requests.get("https://huggingface.co/a", timeout=5).content == DATA


def test_the_certificate_is_worth_nothing_without_the_bundle(monkeypatch):
    with online({"huggingface.co": Static({"/a": DATA})}), monkeypatch.context() as inside:
        inside.delenv("REQUESTS_CA_BUNDLE")
        with pytest.raises(requests.exceptions.SSLError):
            requests.get("https://huggingface.co/a", timeout=5)


def test_a_host_that_is_not_defined_does_not_exist():
    with online({}) as internet, pytest.raises(requests.exceptions.ProxyError, match="502"):
        requests.get("https://mega.nz/", timeout=5)
    assert [(request.host, request.method) for request in internet.log] == [("mega.nz", "CONNECT")]


def test_plain_http_gets_no_answer_but_is_seen():
    with online({"huggingface.co": Static({"/a": DATA})}) as internet:
        assert requests.get("http://huggingface.co/a", timeout=5).status_code == 502
    assert internet.log[0].path == "http://huggingface.co/a"


def test_a_subprocess_is_led_there_by_its_environment_alone():
    code = "import requests; print(len(requests.get('https://huggingface.co/a', timeout=5).content))"
    with Internet({"huggingface.co": Static({"/a": DATA})}) as internet:
        environment = {**os.environ, **internet.environment}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == str(len(DATA)), done.stderr
    assert [request.path for request in internet.requests("huggingface.co")] == ["/a"]


def test_the_environment_is_as_before_afterwards():
    before = dict(os.environ)
    with online({}):
        assert dict(os.environ) != before
    assert dict(os.environ) == before


def test_a_range_is_granted_only_for_the_same_file():
    with online({"huggingface.co": Static({"/a": DATA})}):
        whole = requests.get("https://huggingface.co/a", timeout=5)
        same = {"Range": "bytes=100-", "If-Range": whole.headers["ETag"]}
        other = {"Range": "bytes=100-", "If-Range": '"other"'}
        part = requests.get("https://huggingface.co/a", headers=same, timeout=5)
        again = requests.get("https://huggingface.co/a", headers=other, timeout=5)
    assert (part.status_code, part.content) == (206, DATA[100:])
    assert (again.status_code, again.content) == (200, DATA)


def test_a_mega_host_keeps_only_what_the_key_opens():
    link = mega_link("AbCdEfGh", DATA)
    key = MegaKey.of_text(link.split("!")[2])
    with online(Mega({link: DATA}).hosts):
        question = [{"a": "g", "g": 1, "ssl": 2, "p": "AbCdEfGh"}]
        [offer] = requests.post("https://g.api.mega.co.nz/cs?id=1", json=question, timeout=5).json()
        stored = requests.get(offer["g"] + f"/16-{offer['s'] - 1}", timeout=5).content
    assert offer["s"] == len(DATA)
    assert DATA[16:48] not in stored
    assert encrypt(key, bytes(16) + stored)[16:] == DATA[16:]
    assert content_mac(key.aes, key.nonce, DATA) == key.mac


def test_a_large_drive_file_stands_behind_a_form():
    drive = Drive({"a" * 33: DATA}, large=("a" * 33,))
    with online(drive.hosts):
        page = requests.get("https://drive.google.com/uc?id=" + "a" * 33, timeout=5)
    assert "download-form" in page.text
    assert "Content-Disposition" not in page.headers


LIGHT = """
import sys
import reidhub.testing
for name in reidhub.testing.__all__:
    getattr(reidhub.testing, name)
sys.exit(", ".join({"torch", "reidhub.demo", "reidhub.zoo", "reidhub.download"} & set(sys.modules)) or 0)
"""


def test_the_package_is_imported_without_torch_or_the_rest_of_reidhub():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
