"""The commands of docs/clusters.md give each process its part, and all parts together have every shard once."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.documentation import Desk
from support.paths import ROOT

from reidhub.cli.commands.embed import command
from reidhub.executors.share import Share
from reidhub.retrieval.embeddings_folder import EmbeddingsFolder

PAGE = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")


def read_block(heading: str) -> str:
    return re.split(r"```\w*\n", PAGE.split(f"\n## {heading}\n")[1])[1].split("```")[0]


def read_options(words: list[str]) -> dict[str, Any]:
    """Parse the words of a command line after ``reidhub``."""
    assert words[0] == "embed"
    return command.make_context("embed", words[1:]).params


def has_each_shard_once(shares: list[Share]) -> bool:
    return all(sum(share.has(shard) for share in shares) == 1 for shard in range(100))


def test_the_tasks_of_the_slurm_array_have_each_shard_once():
    script = read_block("Slurm")
    first, last = map(int, re.findall(r"--array=(\d+)-(\d+)", script)[0])
    assert read_options(script.splitlines()[-1].split("reidhub ")[1].split())["shard"] is None
    array = {"MIN": first, "MAX": last, "COUNT": last - first + 1, "STEP": 1}  # as Slurm sets them
    shares = [
        Share.find({f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in {**array, "ID": task}.items()})
        for task in range(first, last + 1)
    ]
    assert len(shares) == 8 and has_each_shard_once(shares)


def test_the_pods_of_the_kubernetes_job_have_each_shard_once():
    job = yaml.safe_load(read_block("Kubernetes"))["spec"]
    assert job["completionMode"] == "Indexed"
    (container,) = job["template"]["spec"]["containers"]
    shares = []
    for index in range(job["completions"]):
        words = [word.replace("$(JOB_COMPLETION_INDEX)", str(index)) for word in container["args"]]
        shares.append(Share.parse(read_options(words[1:])["shard"]))
    assert len(shares) == 8 and has_each_shard_once(shares)


@pytest.mark.long
def test_the_command_with_torchrun_embeds_all_parts_of_a_plan(desk: Desk):
    program, *words = read_block("torchrun").split()
    assert program == "torchrun" and "--nproc-per-node=8" in words
    words = [word.replace("node=8", "node=2") for word in words]
    write_many(desk.folder / "many", 1001)
    plan = desk.run(["reidhub", "embed", "osnet_x1_0", "many", "-o", "embeddings", "--plan-only"])
    assert plan.returncode == 0, plan.stderr

    done = desk.run([sys.executable, "-m", "torch.distributed.run", *words])

    assert done.returncode == 0, done.stderr
    folder = EmbeddingsFolder(desk.folder / "embeddings")
    assert [len(part) for part in folder.read_parts()] == [1000, 1]
    assert "part 1 of 2" in done.stderr and "part 2 of 2" in done.stderr


def write_many(folder: Path, count: int) -> None:
    """Write links to one image."""
    folder.mkdir()
    for number in range(count):
        os.link(folder.parent / "query.jpg", folder / f"{number:04}.jpg")
