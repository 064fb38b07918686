"""Rank the images of a folder by how much they look like one query image.

    python examples/rank_gallery.py query.jpg gallery/ --checkpoint osnet_x1_0.msmt17

The first run downloads the checkpoint and converts it for this machine, which takes some seconds more than later runs.
"""

import argparse
from pathlib import Path

from torch.nn.functional import cosine_similarity

import reidhub

parser = argparse.ArgumentParser(description="Rank the images of a folder by how much they look like a query image.")
parser.add_argument("query", type=Path, help="image of one person, cropped")
parser.add_argument("gallery", type=Path, help="folder of such images")
parser.add_argument("--checkpoint", default="osnet_x1_0.msmt17")
parser.add_argument("--top", type=int, default=10, help="how many images to print")
arguments = parser.parse_args()

paths = sorted(path for path in arguments.gallery.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
embed = reidhub.embedder(arguments.checkpoint)
query = embed(arguments.query)  # float32 (1, D)
gallery = embed(paths)  # float32 (N, D)
similarity = cosine_similarity(query, gallery)  # (N,), 1 for the same direction
for place in similarity.argsort(descending=True)[: arguments.top].tolist():
    print(f"{similarity[place]:.3f}  {paths[place]}")
