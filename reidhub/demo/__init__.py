"""The generated world, the loopback hosts and the checkpoint of ``reidhub demo``; the tests use the hosts as well."""

from pathlib import Path

from reidhub.datasets import DATASETS

DATA = Path(__file__).with_name("data")
"""The checkpoint, its manifest and what was counted when it was recorded."""

FILE_NAME, MANIFEST, COUNTS = "osnet_x0_25_demo_world.pth", "manifest.yaml", "counts.json"

DATASETS["demo_world"] = "reidhub.demo.dataset:read"
