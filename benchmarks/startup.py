"""Measures the CPU seconds of commands and imports, compared with other libraries that list their models.

    python benchmarks/startup.py

Each command runs in a new process, as a user runs it. reidhub is installed normally, because an editable install slows
down every start of Python. A first round, which is not counted, compiles the bytecode and writes the parsed copy of the
manifest.
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import venv
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_path

from side_by_side import medians, print_table

from reidhub.cache.store import Cache
from reidhub.files.digest import Digest
from reidhub.zoo.artifact import Artifact, Source
from reidhub.zoo.manifest import folder, zoo

ROOT = Path(__file__).parents[1]
YARDSTICKS = {
    "timm.list_models()": ("timm", "import timm; timm.list_models()"),
    "torchvision.models.list_models()": ("torchvision", "import torchvision; torchvision.models.list_models()"),
}


def children_cpu() -> float:
    """Return the CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_manifest(file: Path, total: int) -> None:
    """Write a manifest of renamed copies of the zoo's checkpoints, so that both have at least ``total`` together."""
    lines = ["checkpoints:"]
    for copy in range(-(-total // len(zoo().checkpoints)) - 1):
        for number, source in enumerate(sorted(folder().glob("*.yaml"))):
            _, _, entries = source.read_text().partition("\ncheckpoints:\n")
            entries = re.sub(r"(- name: \w+\.)", rf"\1copy{copy}_", entries)
            lines.append(re.sub(r"([&*])(\w+)(?=[\s,}\]])", rf"\1\2_{copy}_{number}", entries))
    file.write_text("\n".join(lines))


def thousand_files(root: Path) -> None:
    """Make a cache with a thousand small files that look like downloads."""
    cache = Cache(root)
    for number in range(1000):
        body = str(number).encode()
        artifact = Artifact(Digest.of_bytes(body), len(body), (Source("local", f"{number}.pth"),))
        with cache.open_incoming() as incoming:
            incoming.write(body)
            cache.keep(incoming, artifact, name=f"osnet_x1_0.{number}", source="local", checked_by="sha256")


def installed(scratch: Path) -> str:
    """Make a virtual environment with reidhub and the packages of this Python; return the path of its interpreter."""
    source, environment = scratch / "source", scratch / "environment"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info"))
    venv.create(environment)
    packages = next(environment.glob("lib/python*/site-packages"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), str(source)]
    subprocess.run(pip, check=True)
    (packages / "others.pth").write_text(get_path("purelib"))
    return str(environment / "bin" / "python")


def main() -> None:
    """Print one row for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        python = installed(Path(scratch))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPYCACHEPREFIX": scratch, "REIDHUB_HOME": str(Path(scratch) / "home")}
        large = environment | {"REIDHUB_MANIFEST": str(Path(scratch) / "large.yaml")}
        write_manifest(Path(scratch) / "large.yaml", 10_000)
        full = environment | {"REIDHUB_HOME": str(Path(scratch) / "cache")}
        thousand_files(Path(scratch) / "cache")

        def run(arguments: list[str], variables: dict[str, str] = environment) -> None:
            subprocess.run([python, *arguments], cwd=scratch, env=variables, check=True, capture_output=True)

        works = {
            "python -c pass": lambda: run(["-c", "pass"]),
            "import reidhub": lambda: run(["-c", "import reidhub"]),
            "reidhub list": lambda: run(["-m", "reidhub", "list"]),
            "reidhub show osnet_x1_0.msmt17": lambda: run(["-m", "reidhub", "show", "osnet_x1_0.msmt17"]),
            "reidhub list, 10,000 checkpoints": lambda: run(["-m", "reidhub", "list"], large),
            "reidhub show, 10,000 checkpoints": lambda: run(["-m", "reidhub", "show", "osnet_x1_0.msmt17"], large),
            "reidhub cache list, 1,000 files": lambda: run(["-m", "reidhub", "cache", "list"], full),
        }
        for name, (package, program) in YARDSTICKS.items():
            if find_spec(package):
                works[name] = lambda program=program: run(["-c", program])
        seconds = medians(works, rounds, children_cpu)
    ours = seconds["reidhub list"]
    rows = [(name, f"{s:.3f}", f"{s / ours:.1f}" if name in YARDSTICKS else "") for name, s in seconds.items()]
    print_table("Start-up", ("command", "CPU seconds", "times `reidhub list`"), rows)


if __name__ == "__main__":
    main()
