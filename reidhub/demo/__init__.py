"""``reidhub demo``: a generated dataset, a small checkpoint and the program that downloads and verifies it."""

from pathlib import Path

from reidhub.datasets import DATASETS

DATA = Path(__file__).with_name("data")
"""Folder of the checkpoint, its manifest, and the counts from which its scores were recorded."""

FILE_NAME, MANIFEST, COUNTS = "osnet_x0_25_demo_world.pth", "manifest.yaml", "counts.json"

DATASETS["demo_world"] = "reidhub.demo.dataset:read"
