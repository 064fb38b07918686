"""``reidhub demo``: a generated dataset, a small checkpoint, and a program that downloads and verifies it."""

from pathlib import Path

from reidhub.datasets import DATASETS

DATA = Path(__file__).with_name("data")
"""Folder with the checkpoint, its manifest, and the counts from which its recorded scores were computed."""

FILE_NAME, MANIFEST, COUNTS = "osnet_x0_25_demo_world.pth", "manifest.yaml", "counts.json"

DATASETS["demo_world"] = "reidhub.demo.dataset:read"
