"""Time and memory of a download, beside raw requests and beside a plain loop that does the same work.

    python benchmarks/download.py

One file over the loopback internet, TLS and proxy included, several times each in turn; what counts are the ratios of
the medians, for all of it runs on one machine at one time. Each download is a process of its own that has imported
everything before its clock starts. Needs Linux, whose /proc tells the memory.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile

from reidhub.demo.hosts import Mega, mega_link
from reidhub.demo.internet import Internet
from reidhub.digest import Digest

MIB = 1 << 20

SETUP = """
def memory(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))

bare = memory("VmRSS")
import hashlib, json, os, sys, time
import requests
from pathlib import Path
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR
import reidhub.resolver, reidhub.sources.mega
from reidhub.cache import Cache
from reidhub.checkpoint import Artifact, Checkpoint, Source
from reidhub.digest import Digest
from reidhub.sources.mega import Link
link, size, sha256, folder, url = sys.argv[1:]
size = int(size)

def measured(work):
    imported = memory("VmRSS")
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    peak = memory("VmHWM")
    print(json.dumps({"seconds": seconds, "memory": peak - bare, "transfer": peak - imported}))
"""

RAW = """
def work():
    with requests.get(url, stream=True) as response:
        assert sum(len(block) for block in response.iter_content(1 << 18)) == size
"""

PLAIN = """
def work():
    key = Link.parse(link)
    decryptor = Cipher(AES(key.aes), CTR(key.nonce + bytes(8))).decryptor()
    digest, macs, number, filled = hashlib.sha256(), b"", 0, 0
    cbc = Cipher(AES(key.aes), CBC(key.nonce * 2)).encryptor()
    scratch = bytearray((1 << 20) + 16)
    with requests.get(url, stream=True) as response, open(Path(folder, "plain"), "wb") as file:
        for block in response.iter_content(1 << 18):
            block = decryptor.update(block)
            digest.update(block)
            file.write(block)
            left = memoryview(block)
            while left:
                part = left[: min(number + 1, 8) * 131072 - filled]
                count = cbc.update_into(part, scratch)
                filled, left = filled + len(part), left[len(part) :]
                if filled == min(number + 1, 8) * 131072:
                    macs += bytes(scratch[count - 16 : count])
                    cbc, number, filled = Cipher(AES(key.aes), CBC(key.nonce * 2)).encryptor(), number + 1, 0
        file.flush()
        os.fsync(file.fileno())
    assert filled == 0 and digest.hexdigest() == sha256
    whole = Cipher(AES(key.aes), CBC(bytes(16))).encryptor().update(macs)[-16:]
    words = [int.from_bytes(whole[at : at + 4]) for at in range(0, 16, 4)]
    assert (words[0] ^ words[1]).to_bytes(4) + (words[2] ^ words[3]).to_bytes(4) == key.mac
"""

REIDHUB = """
artifact = Artifact(Digest(sha256), size, (Source("mega", link),))
checkpoint = Checkpoint("a.b", None, (), False, False, artifact, None, None, "cosine", None, None, None, (), (), "")

def work():
    reidhub.resolver.fetch(checkpoint, Cache(Path(folder)))
"""

WAYS = {"raw requests": RAW, "plain CTR + MAC + sha256 loop": PLAIN, "reidhub": REIDHUB}


def content(size: int) -> bytes:
    """A file that ends where a chunk of Mega's MAC does, so that the plain loop needs no care for the rest."""
    return b"\x80\x02" + random.Random(0).randbytes(size - 2)


def run(code: str, data: bytes, sha256: str, internet: Internet) -> dict[str, float]:
    """Seconds and bytes of one download in a process of its own."""
    link = mega_link("BeNcHmRk", data)
    url = f"https://{Mega.STORAGE}/dl/BeNcHmRk"
    with tempfile.TemporaryDirectory(prefix="reidhub-bench-") as folder:
        command = [sys.executable, "-c", SETUP + code + "\nmeasured(work)", link, str(len(data)), sha256, folder, url]
        done = subprocess.run(command, env={**os.environ, **internet.environment}, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Print a row for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=7)
    given = parser.parse_args()
    size = 9 * MIB // 2 + 60 * MIB
    data = content(size)
    sha256 = Digest.of_bytes(data).hex
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with Internet(Mega({mega_link("BeNcHmRk", data): data}).hosts) as internet:
        for _ in range(given.repetitions):
            for name, code in WAYS.items():
                runs[name].append(run(code, data, sha256, internet))
    seconds = {name: statistics.median(r["seconds"] for r in row) for name, row in runs.items()}
    for name, median in seconds.items():
        print(f"download of {size / 1e6:.1f} MB, {name:<30} {median:.3f} s")
    print(f"download: reidhub / raw requests  {seconds['reidhub'] / seconds['raw requests']:.2f}")
    plain = seconds["plain CTR + MAC + sha256 loop"]
    print(f"download: reidhub / plain loop    {seconds['reidhub'] / plain:.2f}  (at most 1.3)")
    for field, above in (("memory", "the bare interpreter (at most 64)"), ("transfer", "the imports")):
        print(f"download: {statistics.median(r[field] for r in runs['reidhub']) / 1e6:.1f} MB of memory above {above}")


if __name__ == "__main__":
    main()
