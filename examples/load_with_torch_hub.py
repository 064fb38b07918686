"""Load a model with torch.hub, without installing reidhub.

    python examples/load_with_torch_hub.py OWNER/reidhub osnet_x1_0 msmt17

The first argument is a repository on GitHub, or a folder with a copy of it. The packages that `hubconf.py` lists in
`dependencies` must be installed.
"""

import argparse
from pathlib import Path

import torch

parser = argparse.ArgumentParser(description="Load a model with torch.hub.")
parser.add_argument("repository", help="OWNER/reidhub, or a folder")
parser.add_argument("model", nargs="?", default="osnet_x1_0")
parser.add_argument("dataset", nargs="?", default="msmt17", help="what the checkpoint was trained on")
arguments = parser.parse_args()

source = "local" if Path(arguments.repository).is_dir() else "github"
model = torch.hub.load(
    arguments.repository, arguments.model, dataset=arguments.dataset, source=source, trust_repo=True
)  # in eval mode
images = torch.zeros(2, 3, *model.input_size)  # normalised pixels
with torch.inference_mode():
    print("embeddings", tuple(model(images).shape))
