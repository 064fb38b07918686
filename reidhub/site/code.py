"""Code to copy that uses a checkpoint."""

from reidhub.zoo.checkpoint import IMAGENET, Checkpoint


def write_python(checkpoint: Checkpoint) -> str:
    """Return Python code that uses the package."""
    name = checkpoint.name
    if not checkpoint.for_reid:
        return (
            "import reidhub\n\n"
            f'model = reidhub.load("{name}", num_classes=751).train()  # new classifier, ready for training'
        )
    return (
        "import reidhub\n\n"
        f'embed = reidhub.embedder("{name}")\n'
        'embeddings = embed(["a.jpg", "b.jpg"])  # float32 tensor (N, D)\n\n'
        f'model = reidhub.load("{name}")  # nn.Module in eval mode'
    )


def write_shell(checkpoint: Checkpoint) -> str:
    """Return commands for a shell."""
    name = checkpoint.name
    lines = [f"reidhub download {name}  # into the cache; prints the path of the file"]
    if checkpoint.for_reid:
        lines.append(f"reidhub embed {name} images -o embeddings  # all images of a folder")
    if checkpoint.scores:
        lines.append(f"reidhub verify {name} --data-root datasets  # measure its scores again")
    return "\n".join(lines)


def write_torch_hub(checkpoint: Checkpoint) -> str:
    """Return Python code that needs no installation; the owner of the repository has to be filled in."""
    dataset = IMAGENET if not checkpoint.for_reid else checkpoint.tag
    return (
        "import torch\n\n"
        "# replace org by the owner of the repository\n"
        f'model = torch.hub.load("org/reidhub", "{checkpoint.model}", dataset="{dataset}")'
    )
