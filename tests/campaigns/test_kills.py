"""kill -9 at random moments of a real download, and the same command again: no bad file, no progress lost."""

import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.faults import slow
from support.generated_zoo import WEB, File, content, hosts, shell, stored, write_manifest

from reidhub.files.digest import Digest
from reidhub.testing.hosts import Mega
from reidhub.testing.internet import Internet

MIB = 1 << 20
CHUNK = MIB  # Mega's longest chunk; what a kill may cost
FILE_SIZE = 8 * MIB + 4321
GIVER = {"mega": Mega.STORAGE, "https": WEB}


@dataclass
class Chain:
    """One file, fetched by processes that are killed one after another."""

    file: File
    kind: str
    folder: Path
    chance: random.Random
    kills: int = 0
    lost: list[int] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(self, internet: Internet, kills: int) -> None:
        """Kill up to that many processes, then let one end."""
        manifest = str(write_manifest(self.folder / "zoo.yaml", [self.file]))
        command = [sys.executable, "-m", "reidhub", "--manifest", manifest, "download", self.file.name]
        ended = False
        while not ended:
            held, asked = self.held(), len(internet.requests(GIVER[self.kind]))
            with subprocess.Popen(command, env=shell(internet, self.home), stdout=-1, stderr=-1) as process:
                if self.kills < kills:
                    self._wait(internet, asked, process)
                    process.kill()
                output = process.communicate()[1].decode()
            self.kills += process.returncode == -9
            ended = process.returncode != -9
            assert not ended or process.returncode == 0, output
            self.check(internet, held, asked)
        assert list(stored(self.home).values()) == [self.file.data]
        assert list((self.home / "partial").iterdir()) == []

    def _wait(self, internet: Internet, asked: int, process: subprocess.Popen) -> None:
        """Until a random moment behind the first request for bytes, sometimes before it."""
        if self.chance.random() < 0.1:
            time.sleep(self.chance.uniform(0, 0.5))
            return
        end = time.monotonic() + 20
        while len(internet.requests(GIVER[self.kind])) == asked and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(self.chance.uniform(0, 0.25))

    def held(self) -> int:
        """Bytes on the disk, in the longest of what was left."""
        return max((path.stat().st_size for path in (self.home / "partial").glob("*.part")), default=0)

    def check(self, internet: Internet, held: int, asked: int) -> None:
        """Nothing wrong under a final name; the request went on where the bytes end."""
        for digest, data in stored(self.home).items():
            assert Digest.of_bytes(data).hex == digest
        for request in internet.requests(GIVER[self.kind])[asked:][:1]:
            text = request.path if self.kind == "mega" else request.headers.get("Range", "bytes=0-")
            start = int(re.search(r"[/=](\d+)-\d*$", text)[1])
            assert start <= held
            self.lost.append(held - start)


def campaign(kind: str, kills: int, folder: Path, *, pinned: bool) -> list[Chain]:
    chance = random.Random(f"{kind} {kills} {pinned}")
    chains: list[Chain] = []
    while sum(chain.kills for chain in chains) < kills:
        number = len(chains)
        file = File(f"kill{number}", content(FILE_SIZE, number), kinds=(kind, "mega")[: 1 + (kind != "mega")])
        file.pinned = pinned
        home = folder / file.tag
        home.mkdir()
        chain = Chain(file, kind, home, chance)
        world = hosts([file])
        with Internet({**world, GIVER[kind]: slow(world[GIVER[kind]], 16 * MIB)}) as internet:
            chain.run(internet, kills - sum(chain.kills for chain in chains))
        chains.append(chain)
    return chains


@pytest.mark.parametrize("pinned", [True, False], ids=["sha256", "mac"])
@pytest.mark.parametrize("kind", ["mega", "https"])
def test_killed_at_random_moments(kind, pinned, tmp_path, long, tell):
    kills = 25 if long else 2
    chains = campaign(kind, kills, tmp_path, pinned=pinned)
    lost = [count for chain in chains for count in chain.lost]
    tell(
        f"kill -9, {kind} held to {'sha256' if pinned else 'MAC'}: {kills} kills in {len(chains)} downloads, "
        f"0 bad files; bytes lost by a kill: at most {max(lost)}, {sum(lost) / len(lost):.0f} on average"
    )
    assert sum(chain.kills for chain in chains) == kills
    assert max(lost) <= CHUNK
