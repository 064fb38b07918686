"""Many processes ask for the same file at the same moment, with locks that work and with locks that do nothing."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.faults import slow
from support.generated_zoo import File, content, hosts, shell, stored, write_manifest

from reidhub.testing.hosts import Mega
from reidhub.testing.internet import Internet

FILE = File("race", content(6_000_000), kinds=("mega",))

RUNNER = """
import sys, time; from contextlib import contextmanager; from pathlib import Path
import reidhub.cli.commands.download, reidhub.files.lock, reidhub.download.sources.mega
from reidhub.cli import main
locks, folder, number, *sys.argv[1:] = sys.argv[1:]
class Nothing:
    def __init__(self, path): pass
    def acquire(self, **_): pass
    def release(self): pass
if locks == "without":
    reidhub.files.lock.filelock.FileLock = Nothing
Path(folder, number).touch()
while not Path(folder, "go").exists():
    time.sleep(0.01)
main()
"""


def raced(locks: str, count: int, folder: Path) -> tuple[list[tuple[int, str, str]], Internet]:
    """Exit code, stdout and stderr of each process; and the internet they asked."""
    manifest = str(write_manifest(folder / "zoo.yaml", [FILE]))
    ready = folder / "ready"
    ready.mkdir()
    world = hosts([FILE])
    with Internet({**world, Mega.STORAGE: slow(world[Mega.STORAGE], 6_000_000)}) as internet:
        command = [sys.executable, "-c", RUNNER, locks, str(ready)]
        arguments = ["--manifest", manifest, "download", FILE.name]
        environment = shell(internet, folder / "home")
        processes = [
            subprocess.Popen([*command, str(number), *arguments], env=environment, stdout=-1, stderr=-1, text=True)
            for number in range(count)
        ]
        end = time.monotonic() + 120
        while len(list(ready.iterdir())) < count and time.monotonic() < end:
            time.sleep(0.05)
        (ready / "go").touch()
        outputs = [process.communicate(timeout=300) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)], internet


@pytest.mark.parametrize("locks", ["with", "without"])
def test_every_process_ends_with_the_file(locks, tmp_path, long, tell):
    count = 32 if long else 8
    ends, internet = raced(locks, count, tmp_path)
    home = tmp_path / "home"
    downloads = sum(request.path.endswith(f"/0-{len(FILE.data) - 1}") for request in internet.requests(Mega.STORAGE))
    tell(f"race of {count} processes {locks} locks: {count} ended well, {downloads} downloaded the file from its start")
    assert [code for code, _, _ in ends] == [0] * count, [text for _, _, text in ends if text]
    assert {Path(out.strip()) for _, out, _ in ends} == {home / "files" / f"{name}.pth" for name in stored(home)}
    assert list(stored(home).values()) == [FILE.data]
    assert list((home / "partial").iterdir()) == []
    if locks == "with":
        assert len(internet.requests(Mega.STORAGE)) == 1
        assert sum("waiting for it" in text for _, _, text in ends) == count - 1
        assert list((home / "locks").iterdir()) == []
