"""The whole road without an internet: hosts on the loopback, a download, a check, scores that are measured again.

The command line under it is the one users have, in processes of its own; nothing in it knows of the demo.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from shutil import copyfile
from tempfile import TemporaryDirectory

from reidhub.demo import COUNTS, DATA, FILE_NAME, MANIFEST, world
from reidhub.errors import ReidhubError, UsageError
from reidhub.testing.hosts import Drive, Mega
from reidhub.testing.internet import Host, Internet, Request, Response
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import read_manifest

Tell = Callable[[str], None]


def run(*, keep: Path | None, as_data: bool, tell: Tell) -> int:
    """Run the demo; the table, or with ``as_data`` its JSON, goes to stdout.

    Args:
        keep: folder to work in, left as it is at the end; None for a temporary one.
        as_data: JSON instead of the table.
        tell: takes one line of narration.

    Returns:
        The exit code of ``reidhub verify``.

    Raises:
        UsageError: ``keep`` is not empty, or cannot be made.
        ReidhubError: a download failed.
    """
    with _workplace(keep) as folder:
        data_root = folder / "data"
        copyfile(DATA / MANIFEST, folder / MANIFEST)
        _draw_world(data_root / "demo_world", tell)
        with Internet(_hosts()) as internet:
            shell = _Shell(folder, internet, _checkpoint().name)
            tell("hosts    Mega's and Google Drive's protocols, spoken on the loopback; no packet leaves this machine")
            size = _download(shell, folder / "cache", Mega.STORAGE, tell)
            tell(f"         from Mega: {size:,} bytes, as many as expected; Mega's MAC and the sha256 are right")
            internet.hosts[Mega.API] = _gone
            tell("hosts    Mega now says that the file is gone; the same again, into another cache")
            _download(shell, folder / "second-cache", Drive.CONTENT, tell)
            tell("         from Google Drive, next in the manifest: the same bytes")
            code = _verify(shell, data_root, as_data=as_data, tell=tell)
        if keep is not None:
            tell(f"kept     {folder}; to go on with it, where reidhub is {Path(sys.executable).with_name('reidhub')}:")
            tell(f"$ export REIDHUB_HOME={quote(f'{folder}/cache')} REIDHUB_MANIFEST={quote(str(shell.manifest))}")
            tell(f"$ reidhub verify {shell.checkpoint} --data-root {quote(str(data_root))}")
        return code


@contextmanager
def _workplace(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with TemporaryDirectory(prefix="reidhub-demo-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {keep}: {error.strerror}") from error
    if any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty", hint="the demo starts from nothing; name a new folder")
    yield keep.absolute()


def _draw_world(root: Path, tell: Tell) -> None:
    """Draw query and gallery, and say whether the files are those that the recorded scores belong to."""
    tell("world    people who do not exist walk past 4 cameras: drawing query and gallery in Market-1501's layout")
    images = world.build(root, ("query", "gallery"))
    recorded = json.loads((DATA / COUNTS).read_text())["world_sha256"]
    drawn = str(world.digest_of(root))
    same = "byte for byte those the scores were recorded on" if drawn == recorded else _OTHER_WORLD
    tell(f"         {images:,} JPEG files, with junk that nothing is scored on; {same}")


_OTHER_WORLD = "NOT those the scores were recorded on: the scores may come out otherwise"


def _hosts() -> dict[str, Host]:
    """Mega and Google Drive with the checkpoint under the links of the manifest."""
    content = (DATA / FILE_NAME).read_bytes()
    links = {source.kind: source.location for source in _checkpoint().artifact.sources}
    drive_id = links["gdrive"].rpartition("=")[2]
    return {**Mega({links["mega"]: content}).hosts, **Drive({drive_id: content}).hosts}


def _checkpoint() -> Checkpoint:
    (only,) = read_manifest([DATA / MANIFEST]).checkpoints
    return only


def _gone(request: Request) -> Response:
    """Mega's API about a file that was taken away."""
    return Response(200, b"[-9]")


@dataclass(frozen=True, slots=True)
class _Shell:
    """Runs ``reidhub`` as a user would who has this internet and no settings of their own."""

    folder: Path
    internet: Internet
    checkpoint: str

    @property
    def manifest(self) -> Path:
        return self.folder / MANIFEST

    def reidhub(self, *arguments: str, cache: Path, stdout: int | None = None) -> subprocess.CompletedProcess[str]:
        scratch = self.folder / "tmp"
        scratch.mkdir(exist_ok=True)
        own = {name: value for name, value in os.environ.items() if not name.startswith("REIDHUB_")}
        environment = {**own, **self.internet.environment, "REIDHUB_HOME": str(cache), "TMPDIR": str(scratch)}
        command = [sys.executable, "-m", "reidhub", "--manifest", str(self.manifest), *arguments]
        return subprocess.run(command, env=environment, stdout=stdout, text=True, check=False)


def _download(shell: _Shell, cache: Path, giver: str, tell: Tell) -> int:
    """Run ``reidhub download`` with an empty cache; the size of the file in bytes.

    Raises:
        ReidhubError: it failed, or another host than ``giver`` was asked last.
    """
    tell(f"$ reidhub download {shell.checkpoint}")
    done = shell.reidhub("download", shell.checkpoint, "--json", cache=cache, stdout=subprocess.PIPE)
    last = shell.internet.log[-1].host if shell.internet.log else "no host"
    if done.returncode or last != giver:
        raise ReidhubError(f"expected the file from {giver}, got exit code {done.returncode}; {last} was asked last")
    (result,) = json.loads(done.stdout)
    return int(result["size"])


def _verify(shell: _Shell, data_root: Path, *, as_data: bool, tell: Tell) -> int:
    options = ["--json"] if as_data else []
    tell("verify   every image is embedded, which takes up to a minute")
    tell(f"$ reidhub verify {shell.checkpoint} --data-root {quote(str(data_root))}")
    sys.stdout.flush()
    done = shell.reidhub(
        "verify", shell.checkpoint, "--data-root", str(data_root), *options, cache=shell.folder / "cache"
    )
    return done.returncode
