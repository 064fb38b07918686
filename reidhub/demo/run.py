"""Run the demo: two downloads from servers on this machine, then a verification on the generated dataset.

The demo runs the ordinary ``reidhub`` command in subprocesses. The command has no special code for the demo.
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
from reidhub.files.atomic import explain_write_errors
from reidhub.testing import Drive, Host, Internet, Mega, Request, Response
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import read_manifest

Tell = Callable[[str], None]


def run(*, keep: Path | None, as_data: bool, tell: Tell) -> int:
    """Run the demo and print the result of ``reidhub verify`` on stdout.

    Args:
        keep: empty or new folder for the demo's files, which stays after the demo; None for a temporary folder.
        as_data: print JSON instead of the table.
        tell: called with each line of progress for the user.

    Returns:
        The exit code of ``reidhub verify``.

    Raises:
        UsageError: ``keep`` is not empty, or cannot be created.
        ReidhubError: a download failed.
    """
    with _open_folder(keep) as folder:
        data_root = folder / "data"
        copyfile(DATA / MANIFEST, folder / MANIFEST)
        _draw_world(data_root / "demo_world", tell)
        with Internet(_make_hosts()) as internet:
            shell = _Shell(folder, internet, _read_checkpoint().name)
            tell("hosts    servers on this machine speak the protocols of Mega and Google Drive; no packet leaves it")
            size = _download(shell, folder / "cache", Mega.STORAGE, tell)
            tell(f"         from Mega: {size:,} bytes, the expected size; Mega's MAC and the sha256 are right")
            internet.hosts[Mega.API] = _answer_no_such_file
            tell("hosts    Mega now answers that the file does not exist; the same download, into another cache")
            _download(shell, folder / "second-cache", Drive.CONTENT, tell)
            tell("         from Google Drive, the next source in the manifest: the same bytes")
            code = _verify(shell, data_root, as_data=as_data, tell=tell)
        if keep is not None:
            tell(f"kept     {folder}; to use it again, with {Path(sys.executable).with_name('reidhub')}:")
            tell(f"$ export REIDHUB_HOME={quote(f'{folder}/cache')} REIDHUB_MANIFEST={quote(str(shell.manifest))}")
            tell(f"$ reidhub verify {shell.checkpoint} --data-root {quote(str(data_root))}")
        return code


@contextmanager
def _open_folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with TemporaryDirectory(prefix="reidhub-demo-") as folder:
            yield Path(folder)
        return
    with explain_write_errors(f"make the folder {keep}", UsageError):
        keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty", hint="name a new or empty folder")
    yield keep.absolute()


def _draw_world(root: Path, tell: Tell) -> None:
    """Draw the query and gallery images, and tell the user whether their bytes are as expected.

    The recorded scores were measured on images with the expected bytes. Other bytes may give other scores.
    """
    tell("world    drawing images of people who do not exist, from 4 cameras, in Market-1501's layout")
    count = world.write_images(root, ("query", "gallery"))
    recorded = json.loads((DATA / COUNTS).read_text())["world_sha256"]
    drawn = str(world.compute_digest(root))
    same = "the same bytes as when the scores were recorded" if drawn == recorded else _OTHER_BYTES
    tell(f"         {count:,} JPEG files; {same}")


_OTHER_BYTES = "NOT the same bytes as when the scores were recorded: the scores may differ"


def _make_hosts() -> dict[str, Host]:
    """Make hosts that act as Mega and Google Drive; they serve the checkpoint under the links in the manifest."""
    content = (DATA / FILE_NAME).read_bytes()
    links = {source.kind: source.location for source in _read_checkpoint().artifact.sources}
    drive_id = links["gdrive"].rpartition("=")[2]
    return {**Mega({links["mega"]: content}).hosts, **Drive({drive_id: content}).hosts}


def _read_checkpoint() -> Checkpoint:
    (only,) = read_manifest([DATA / MANIFEST]).checkpoints
    return only


def _answer_no_such_file(request: Request) -> Response:
    """Return the response of Mega's API for a file that does not exist."""
    return Response(200, b"[-9]")


@dataclass(frozen=True, slots=True)
class _Shell:
    """Runs ``reidhub`` commands that reach only the demo's hosts, without the user's own ``REIDHUB_*`` variables."""

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


def _download(shell: _Shell, cache: Path, host: str, tell: Tell) -> int:
    """Run ``reidhub download`` with an empty cache and return the size of the file in bytes.

    ``host`` is the name of the host that should send the file, such as one of Google Drive's hosts.

    Raises:
        ReidhubError: the command failed, or its last request went to another host.
    """
    tell(f"$ reidhub download {shell.checkpoint}")
    done = shell.reidhub("download", shell.checkpoint, "--json", cache=cache, stdout=subprocess.PIPE)
    last = shell.internet.log[-1].host if shell.internet.log else "no host"
    if done.returncode or last != host:
        raise ReidhubError(f"expected the file from {host}, got exit code {done.returncode}; {last} was asked last")
    (result,) = json.loads(done.stdout)
    return int(result["size"])


def _verify(shell: _Shell, data_root: Path, *, as_data: bool, tell: Tell) -> int:
    options = ["--json"] if as_data else []
    tell("verify   computing an embedding of every image, which takes up to a minute")
    tell(f"$ reidhub verify {shell.checkpoint} --data-root {quote(str(data_root))}")
    sys.stdout.flush()
    done = shell.reidhub(
        "verify", shell.checkpoint, "--data-root", str(data_root), *options, cache=shell.folder / "cache"
    )
    return done.returncode
