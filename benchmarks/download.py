"""Measures time and memory of a download from Mega, compared with raw requests and with a plain loop.

    python benchmarks/download.py

The plain loop does the same work as reidhub: it decrypts the file (AES-CTR), checks the checksum in the Mega link (MAC)
and computes the sha256. Each way downloads the same file several times, alternating with the others, from local servers
with TLS and a proxy. Only the ratios of the medians matter, because servers and client share one machine. Each download
runs in its own process, which imports everything before its clock starts. The script needs Linux, because it reads the
memory from /proc.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile

from side_by_side import print_table

from reidhub.files.digest import Digest
from reidhub.testing.hosts import Mega, mega_link
from reidhub.testing.internet import Internet

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
import reidhub.download.fetch, reidhub.download.sources.mega
from reidhub.cache.store import Cache
from reidhub.zoo.artifact import Artifact, Source
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.files.digest import Digest
from reidhub.files.mega_link import MegaLink
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
    key = MegaLink.parse(link)
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
    reidhub.download.fetch.fetch(checkpoint, Cache(Path(folder)))
"""

RAW_NAME, PLAIN_NAME = "raw requests", "plain CTR + MAC + sha256 loop"
WAYS = {RAW_NAME: RAW, PLAIN_NAME: PLAIN, "reidhub": REIDHUB}


def content(size: int) -> bytes:
    """Return random bytes as the content of the file.

    With the size that `main` uses, the last chunk of Mega's checksum is complete. The plain loop needs that.
    """
    return b"\x80\x02" + random.Random(0).randbytes(size - 2)


def run(code: str, data: bytes, sha256: str, internet: Internet) -> dict[str, float]:
    """Measure one download in its own process.

    Returns:
        ``seconds``; ``memory``, the peak in bytes above the bare interpreter; ``transfer``, the peak above the imports.
    """
    link = mega_link("BeNcHmRk", data)
    url = f"https://{Mega.STORAGE}/dl/BeNcHmRk"
    with tempfile.TemporaryDirectory(prefix="reidhub-bench-") as folder:
        command = [sys.executable, "-c", SETUP + code + "\nmeasured(work)", link, str(len(data)), sha256, folder, url]
        done = subprocess.run(command, env={**os.environ, **internet.environment}, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Print a row for each way to download."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    size = 9 * MIB // 2 + 60 * MIB
    data = content(size)
    sha256 = Digest.of_bytes(data).hex
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with Internet(Mega({mega_link("BeNcHmRk", data): data}).hosts) as internet:
        for _ in range(given.rounds):
            for name, code in WAYS.items():
                runs[name].append(run(code, data, sha256, internet))
    figures = {name: {key: statistics.median(run[key] for run in row) for key in row[0]} for name, row in runs.items()}
    rows = []
    for name, own in figures.items():
        ratios = [f"{own['seconds'] / figures[other]['seconds']:.2f}" for other in (RAW_NAME, PLAIN_NAME)]
        memory = [f"{own[key] / 1e6:.1f}" for key in ("memory", "transfer")]
        rows.append((name, f"{own['seconds']:.3f}", *ratios, *memory))
    header = ("way", "seconds", "times raw requests", "times the plain loop (reidhub: at most 1.3)")
    memory_header = ("memory above the bare interpreter, MB (reidhub: at most 64)", "above the imports, MB")
    print_table(f"Download of {size / 1e6:.1f} MB from Mega", (*header, *memory_header), rows)


if __name__ == "__main__":
    main()
