"""Every comparison, one after the other: ``python benchmarks`` prints the tables and writes ``RESULTS.md``.

Each script can be run alone and takes options of its own.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from reidhub import __version__
from reidhub.torch_settings import has_bf16
from reidhub.verification.settings import read_device_name

HERE = Path(__file__).parent
CPU = (
    ["startup.py"],
    ["loading.py"],
    ["decoding.py"],
    ["embedding.py"],
    ["pipeline.py"],
    ["verify.py", "ranks", "market1501"],
    ["verify.py", "passes", "--images", "500", "--models", "3"],
    ["download.py"],
)
CPU_BF16 = (["embedding.py", "--precision", "bf16"],)
GPU = (
    ["embedding.py", "--device", "cuda", "--batch", "128"],
    ["embedding.py", "--device", "cuda", "--batch", "128", "--precision", "bf16"],
    ["pipeline.py", "--device", "cuda", "--batch", "128", "--images", "8192"],
    ["verify.py", "ranks", "msmt17", "--device", "cuda"],
)


def runs() -> Iterator[list[str]]:
    """Scripts and arguments, for what this machine has."""
    yield from CPU
    if has_bf16(torch.device("cpu")):
        yield from CPU_BF16
    if torch.cuda.is_available():
        yield from GPU


def machine() -> str:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    capability = torch.backends.cpu.get_cpu_capability()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    processor = read_device_name(torch.device("cpu"))
    return (
        f"{processor}, {os.cpu_count()} cores ({capability}), {memory:.0f} GiB, {gpu}; {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, reidhub {__version__}"
    )


def main() -> None:
    """Run each script in a process of its own; one that fails ends the run, and nothing is written."""
    sections = [f"# Results\n\nWritten by `make bench`. Machine: {machine()}.\n"]
    print(sections[0], flush=True)
    for script, *arguments in runs():
        done = subprocess.run(
            [sys.executable, str(HERE / script), *arguments], stdout=subprocess.PIPE, text=True, check=True
        )
        print(done.stdout, flush=True)
        sections.append(f"{done.stdout.strip()}\n")
    (HERE / "RESULTS.md").write_text("\n".join(sections))


if __name__ == "__main__":
    main()
