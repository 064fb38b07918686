"""``reidhub activation``: draw where in an image a model is active."""

import json
import sys
from pathlib import Path

import click

from reidhub.cli.examples import Command
from reidhub.cli.options import (
    architecture_option,
    device_option,
    folder_option,
    json_option,
    model_argument,
    print_defaults,
)
from reidhub.cli.progress import show_images
from reidhub.errors import UsageError
from reidhub.zoo.own_files import is_exported_file, is_own_file


@click.command(
    "activation",
    cls=Command,
    examples="""
    # Draw where a checkpoint of the zoo is active in an image
    reidhub activation osnet_x1_0.msmt17 query.jpg -o maps
    # Do the same for your own checkpoint and all images of a folder
    reidhub activation my.pth gallery -o my-maps
    """,
)
@model_argument
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path())
@folder_option(
    "-o",
    "--output",
    "folder",
    required=True,
    help="Folder for the pictures; created if it does not exist.",
)
@click.option("--force", is_flag=True, help="Replace existing files; without it, they are an error.")
@architecture_option
@device_option
@json_option
def command(
    model: str,
    images: tuple[str, ...],
    *,
    folder: Path,
    force: bool,
    architecture: str | None,
    device: str | None,
    as_data: bool,
) -> None:
    """Draw where in an image a model is active: image, activation map, and the map over the image, side by side.

    NAME-or-FILE is the name of a checkpoint (osnet_x1_0.msmt17) or of a model (osnet_x1_0: its default checkpoint), or
    the path of a checkpoint file (my.pth). IMAGE is an image, or a folder of images.

    The map is the sum of squares over the channels of the last feature maps, as in torchreid. Blue is the smallest
    value in the image, and red the largest, so the colours of two images cannot be compared. Each picture is a PNG file
    with the name of its image; images of the same name get a number (a.png, a-2.png).

    Images that cannot be read are left out, and the exit code is 1.
    """
    if is_exported_file(model):
        raise UsageError(
            f"{model} is an exported file, which computes embeddings and no feature maps",
            hint="give the checkpoint that it was exported from",
        )
    if not is_own_file(model):
        print_defaults((model,))
    from reidhub.api import find_one, load
    from reidhub.devices import find_device
    from reidhub.retrieval.activation import choose_files, draw_activations
    from reidhub.retrieval.galleries import list_images

    place = find_device(device)
    listed = list(dict.fromkeys(image for path in images for image in list_images(path)))
    files = choose_files(listed, folder, force=force)
    spec = find_one(model, None, architecture).input
    loaded = load(model, architecture=architecture, device=place)
    with show_images("activation", len(files)) as advance:
        unreadable = draw_activations(loaded, spec, files, advance)
    written = {image: str(file) for image, file in files.items() if image not in unreadable}
    if as_data:
        click.echo(json.dumps([{"image": image, "path": path} for image, path in written.items()], indent=1))
    else:
        click.echo("".join(f"{path}\n" for path in written.values()), nl=False)
    for reason in unreadable.values():
        click.echo(f"error: {reason}", err=True)
    sys.exit(int(bool(unreadable)))
