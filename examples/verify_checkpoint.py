"""Measure the scores of one checkpoint again, from Python.

    python examples/verify_checkpoint.py osnet_x0_25.market1501 ~/reid

The second argument is the folder that contains your copies of the datasets; see the docs, page Datasets.
`reidhub verify` does the same in the shell.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from reidhub.cache.store import Cache
from reidhub.verification.journal import open_journal
from reidhub.verification.plan import Selection, plan
from reidhub.verification.run import verify
from reidhub.verification.settings import Settings
from reidhub.zoo.manifest import zoo

parser = argparse.ArgumentParser(description="Measure the scores of one checkpoint again.")
parser.add_argument("checkpoint")
parser.add_argument("data_root", type=Path)
parser.add_argument("--allow-partial", action="store_true", help="accept a copy with fewer images")
arguments = parser.parse_args()

jobs = plan(Selection.of(zoo(), [arguments.checkpoint]))
settings = Settings.for_device(torch.device("cpu"), arguments.data_root, allow_partial=arguments.allow_partial)
with TemporaryDirectory() as folder, open_journal(Path(folder) / "journal") as journal:
    report = verify(jobs, settings, journal, Cache())
for result in report.results:
    print(f"{result.job.checkpoint.name} on {result.job.dataset}: {result.verdict} {result.reason or ''}")
    for figure in result.figures:
        print(f"  {figure.metric}: reported {figure.reported}, measured {figure.measured}")
