"""Runs all benchmarks, one after the other: ``python benchmarks`` prints the tables and writes ``RESULTS.md``.

Each script can also be run alone, and has its own options.
"""

import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from reidhub import __version__
from reidhub.devices import has_bf16
from reidhub.verification.settings import read_device_name

HERE = Path(__file__).parent
CPU = (
    ["startup.py"],
    ["loading.py"],
    ["decoding.py"],
    ["embedding.py"],
    ["embedding.py", "--latency"],
    ["pipeline.py"],
    ["verify.py", "ranks", "market1501"],
    ["ranking.py"],
    ["verify.py", "passes", "--images", "500", "--models", "3"],
    ["download.py"],
)
CPU_BF16 = (["embedding.py", "--precision", "bf16"],)
GPU = (
    ["embedding.py", "--device", "cuda", "--batch", "128"],
    ["embedding.py", "--device", "cuda", "--batch", "128", "--precision", "tf32"],
    ["embedding.py", "--device", "cuda", "--batch", "128", "--precision", "bf16"],
    ["pipeline.py", "--device", "cuda", "--batch", "128", "--images", "8192"],
    ["verify.py", "ranks", "msmt17", "--device", "cuda"],
    ["ranking.py", "--device", "cuda"],
)


def runs() -> Iterator[list[str]]:
    """Yield the scripts that can run on this machine, each with its arguments."""
    yield from CPU
    if has_bf16(torch.device("cpu")):
        yield from CPU_BF16
    if torch.cuda.is_available():
        yield from GPU
    if sys.platform == "linux" and importlib.util.find_spec("ray"):
        yield ["clusters.py"]


def machine() -> str:
    """Describe the machine on which the figures are measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    capability = torch.backends.cpu.get_cpu_capability()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    processor = read_device_name(torch.device("cpu"))
    return (
        f"{processor}, {os.cpu_count()} cores ({capability}), {memory:.0f} GiB, {gpu}; {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, reidhub {__version__}"
    )


def main() -> None:
    """Run each script in its own process; if a script fails, the run ends and ``RESULTS.md`` is not written."""
    sections = [f"# Results\n\nWritten by `make bench`. Machine: {machine()}.\n"]
    print(sections[0], flush=True)
    for script, *arguments in runs():
        command = [sys.executable, str(HERE / script), *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            lines = []
            for line in running.stdout or ():  # each row is shown when it is measured
                print(line, end="", flush=True)
                lines.append(line)
        if running.returncode:
            sys.exit(f"{' '.join(command)} failed with exit code {running.returncode}")
        sections.append(f"{''.join(lines).strip()}\n")
    (HERE / "RESULTS.md").write_text("\n".join(sections))


if __name__ == "__main__":
    main()
