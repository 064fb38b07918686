"""``reidhub demo``: a generated dataset, a small checkpoint, and code that downloads and verifies the checkpoint."""

from pathlib import Path

from reidhub.datasets import DATASETS

DATA = Path(__file__).with_name("data")
"""Folder with the checkpoint, its manifest, and the counts (such as rank-1 hits) behind its recorded scores."""

FILE_NAME, MANIFEST, COUNTS = "osnet_x0_25_demo_world.pth", "manifest.yaml", "counts.json"

DATASETS["demo_world"] = "reidhub.demo.dataset:read"
