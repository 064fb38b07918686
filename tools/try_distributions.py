"""Builds wheel and sdist into ``dist/``, and tries both: ``python -m tools.try_distributions``, or ``make dist``.

The wheel is built from the sdist, and its files are compared with the checkout. Each of the two is then installed into
an environment without other packages, and its commands run in a folder outside the checkout. The second installation
reuses the environment of the first, after pip has removed every file of reidhub: torch alone takes 5 GB.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
NEEDED_TO_BUILD = {"LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg", "setup.py"}
_WRITTEN_BY_SETUPTOOLS = re.compile(r"PKG-INFO|reidhub\.egg-info/.*|reidhub-[^/]*\.dist-info/.*")
_DEMO = "osnet_x0_25.demo_world"
_USE_ALL_NAMES = "import reidhub; print(reidhub.__file__, len([getattr(reidhub, name) for name in reidhub.__all__]))"

Files = Mapping[str, bytes]


def main() -> None:
    """Build, compare and try; the first failure ends the script."""
    wheel, sdist = build_distributions()
    package = read_package()
    complain(compare_files("the wheel", read_wheel(wheel), package))
    complain(compare_files("the sdist", read_sdist(sdist), name_as_in_checkout(package)))
    tell(f"wheel and sdist have the package's {len(package)} files and nothing else")
    with TemporaryDirectory(prefix="reidhub-dist-") as name:
        environment = FreshEnvironment(Path(name))
        environment.create()
        for distribution in (wheel, sdist):
            environment.install(distribution)
            try_package(environment, Path(name, f"tried-{distribution.suffix[1:]}"))
            environment.uninstall()
            tell(f"{distribution.relative_to(ROOT)} works in an environment of its own")


def tell(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def complain(problems: list[str]) -> None:
    """End the script if there are problems."""
    if problems:
        sys.exit("\n".join(problems))


def run(*command: str | Path, cwd: Path = ROOT, settings: Mapping[str, str] | None = None) -> str:
    """Run a command without the caller's variables of Python and reidhub, and return its output.

    If the command fails, this script ends and prints the error.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "REIDHUB_"))}
    done = subprocess.run(
        command, cwd=cwd, env={**own, **(settings or {})}, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def build_distributions() -> tuple[Path, Path]:
    """Build wheel and sdist into an empty folder ``dist``, and check their metadata; return their paths."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    tell(f"built {wheel.name} and {sdist.name}; twine accepts their metadata")
    return wheel, sdist


def read_package() -> dict[str, bytes]:
    """Return the package's files that git tracks, under their names in the wheel."""
    names = run("git", "ls-files", "reidhub", "manifest").splitlines()
    return {name if name.startswith("reidhub/") else f"reidhub/{name}": (ROOT / name).read_bytes() for name in names}


def name_as_in_checkout(package: Files) -> dict[str, bytes]:
    """Return the files of the package under their names in the checkout and the sdist."""
    return {re.sub("^reidhub/manifest/", "manifest/", name): content for name, content in package.items()}


def read_wheel(path: Path) -> dict[str, bytes]:
    """Return the files of a wheel, without its metadata."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return {name: content for name, content in files.items() if not _WRITTEN_BY_SETUPTOOLS.fullmatch(name)}


def read_sdist(path: Path) -> dict[str, bytes]:
    """Return the files of an sdist, without its metadata and the files that are needed to build a wheel."""
    files = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            file = archive.extractfile(member)
            if file and name not in NEEDED_TO_BUILD and not _WRITTEN_BY_SETUPTOOLS.fullmatch(name):
                files[name] = file.read()
    return files


def compare_files(title: str, packed: Files, expected: Files) -> list[str]:
    """Return a sentence for each file that is missing, not expected, or different."""
    problems = [f"{title} lacks {name}" for name in sorted(expected.keys() - packed.keys())]
    problems += [
        f"{title} has {name}, which is no file of the package in git"
        for name in sorted(packed.keys() - expected.keys())
    ]
    shared = sorted(packed.keys() & expected.keys())
    return problems + [f"{title} has other bytes in {name}" for name in shared if packed[name] != expected[name]]


@dataclass(frozen=True)
class FreshEnvironment:
    """A virtual environment below a temporary folder.

    Args:
        folder: the temporary folder.
    """

    folder: Path

    @property
    def root(self) -> Path:
        """The folder of the environment."""
        return self.folder / "environment"

    @property
    def python(self) -> Path:
        """The environment's Python."""
        return self.root / "bin" / "python"

    def create(self) -> None:
        """Create the environment, with pip alone."""
        run(sys.executable, "-m", "venv", self.root)

    def install(self, distribution: Path) -> None:
        """Install a wheel or sdist with everything that it requires."""
        tell(f"installing {distribution.name} into {self.root}; the first installation downloads torch")
        run(self.python, "-I", "-m", "pip", "install", "--quiet", distribution, cwd=self.folder)
        run(self.python, "-I", "-m", "pip", "check", cwd=self.folder)

    def uninstall(self) -> None:
        """Remove reidhub; end the script if a file of it is still there."""
        run(self.python, "-I", "-m", "pip", "uninstall", "--quiet", "--yes", "reidhub", cwd=self.folder)
        complain([f"pip uninstall left {path}" for path in self.root.rglob("*reidhub*")])


def try_package(environment: FreshEnvironment, folder: Path) -> None:
    """Use the installed package in a folder outside the checkout: its commands, its names, its data files."""
    folder.mkdir()
    python = partial(run, environment.python, cwd=folder)
    reidhub = partial(run, environment.root / "bin" / "reidhub", cwd=folder)
    imported = python("-I", "-c", _USE_ALL_NAMES)
    if not imported.startswith(str(environment.root)):
        sys.exit(f"reidhub was imported from another place: {imported}")
    for arguments in (["--version"], ["show", "osnet_x1_0"], ["completion", "bash"]):
        if reidhub(*arguments) != python("-m", "reidhub", *arguments):
            sys.exit(f"`reidhub` and `python -m reidhub` print different texts for {arguments}")
    try_zoo(partial(reidhub, settings={"REIDHUB_HOME": str(folder / "cache")}), folder)
    python("-I", ROOT / "tools" / "try_commands.py")
    reidhub("demo", "--keep", "demo")
    try_demo(
        partial(reidhub, settings={"REIDHUB_HOME": "demo/cache", "REIDHUB_MANIFEST": "demo/manifest.yaml"}), folder
    )


def try_zoo(reidhub: Callable[..., str], folder: Path) -> None:
    """Compare the checkpoints that the commands know with those of the checkout's manifest."""
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "manifest").glob("*.yaml")]
    expected = {entry["name"] for document in documents for entry in document.get("checkpoints", ())}
    listed = {entry["name"] for entry in json.loads(reidhub("list", "--json"))}
    reidhub("site", "site")
    shown = {page.stem for page in (folder / "site" / "checkpoints").iterdir()}
    for command, names in (("list", listed), ("site", shown)):
        if names != expected:
            sys.exit(f"reidhub {command} has other checkpoints than the manifest: {sorted(names ^ expected)}")


def try_demo(reidhub: Callable[..., str], folder: Path) -> None:
    """Try the commands that need a checkpoint and images, with what the demo has kept."""
    reidhub("doctor", reidhub("download", _DEMO).strip())
    queries = Path("demo", "data", "demo_world", "query")
    query = min((folder / queries).iterdir()).name
    reidhub("rank", _DEMO, queries / query, "--gallery", queries, "--html", "ranking.html")
    if query not in (folder / "ranking.html").read_text(encoding="utf-8"):
        sys.exit(f"ranking.html does not show the query {query}")


if __name__ == "__main__":
    main()
