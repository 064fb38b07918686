"""``reidhub embed``: compute the embeddings of many images, and write them to a folder."""

import json
import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from reidhub.cli.examples import Command
from reidhub.cli.options import (
    architecture_option,
    executor_options,
    json_option,
    model_argument,
    print_defaults,
    running_options,
)
from reidhub.cli.progress import show_images
from reidhub.cli.tables import format_count
from reidhub.errors import UsageError
from reidhub.zoo.own_files import is_own_file

if TYPE_CHECKING:
    from reidhub.retrieval.embed_job import EmbedReport


@click.command(
    "embed",
    cls=Command,
    examples="""
    # Embed all images of a folder
    reidhub embed osnet_x1_0.msmt17 gallery -o embeddings
    # Embed the boxes of a detector, and write them to one file
    reidhub embed osnet_x1_0.msmt17 gallery --boxes boxes.csv -o boxes.npz
    """,
)
@model_argument
@click.argument("inputs", metavar="[INPUT]...", nargs=-1, type=click.Path())
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(),
    required=True,
    help="Folder to write to; or FILE.npz, up to 1 GB.",
)
@click.option(
    "--boxes",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Embed boxes of the images: CSV or Parquet with image,x1,y1,x2,y2[,id], or MOT's det.txt or gt.txt. INPUT is "
    "the folder of the images.",
)
@click.option("--update", is_flag=True, help="Embed files again if they have changed; without it, they are an error.")
@click.option("--plan-only", is_flag=True, help="Write the plan for other processes, and embed nothing.")
@click.option(
    "--shard",
    metavar="I/N",
    help="Do only the shards of part I of N, from 0/N to N-1/N. With torchrun and Slurm arrays, leave it out.",
)
@architecture_option
@running_options
@executor_options
@json_option
def command(model: str, inputs: tuple[str, ...], *, as_data: bool, batch_size: int | None, **options: Any) -> None:
    """Compute the embeddings of many images, and write them to a folder.

    NAME-or-FILE is the name of a checkpoint (osnet_x1_0.msmt17) or of a model (osnet_x1_0: its default checkpoint), the
    path of a checkpoint file (my.pth), or an exported file (my.onnx).

    INPUT is a folder, an image, a glob ('crops/**/*.jpg'), a .tar or .parquet file, an address (s3://bucket/crops), or
    - for a list of paths on stdin. Without INPUT, the run continues with the plan in OUT.

    OUT gets Parquet files with the columns path, box, id and embedding. To resume an interrupted run, or to add new
    images, run the same command again. To share the work between machines, see the docs, page Many machines.

    Images that cannot be read are listed in OUT/unreadable.parquet, and all others are embedded. The exit code is then
    1. In a process of torchrun it is 0, because torchrun stops all processes when one fails.
    """
    if not is_own_file(model):
        print_defaults((model,))
    if "-" in inputs and sys.stdin.isatty():
        raise UsageError(
            "- reads a list of images from stdin, but stdin is the terminal", hint="find crops | reidhub ..."
        )
    from reidhub.api.retrieval import embed
    from reidhub.executors.share import Share, is_torchrun

    if options["shard"] is None and options["executor"] == "local" and (share := Share.find()).count > 1:
        click.echo(f"note: this process does {share}", err=True)
    try:
        report = embed(model, inputs, batch=batch_size, progress=partial(show_images, "embed"), **options)
    except KeyboardInterrupt:
        click.echo("stopped; the same command continues", err=True)
        raise
    if as_data:
        click.echo(json.dumps({**asdict(report), "output": str(report.output)}, indent=1))
    else:
        click.echo(report.output)
    _print_report(report, plan_only=options["plan_only"])
    stops_others = options["shard"] is None and is_torchrun()
    sys.exit(int(report.unreadable > 0 and not stops_others))


def _print_report(report: "EmbedReport", *, plan_only: bool) -> None:
    """Print on stderr what was done, what was not, and which images could not be read."""
    for path, reason in report.reasons:
        click.echo(reason if path in reason else f"{path}: {reason}", err=True)
    if report.unreadable > len(report.reasons):
        click.echo(f"... and {report.unreadable - len(report.reasons)} more", err=True)
    if report.unreadable:
        listed = "" if report.output.suffix == ".npz" else f": {report.output / 'unreadable.parquet'} lists them"
        click.echo(f"{format_count(report.unreadable, 'image')} could not be read{listed}", err=True)
    if report.repeated:
        click.echo(f"{format_count(report.repeated, 'repeated image')} left out: each image is embedded once", err=True)
    if report.changed:
        click.echo(f"{format_count(report.changed, 'changed image')}: their shards are embedded again", err=True)
    if plan_only:
        shards = format_count(report.shards, "shard")
        click.echo(f"planned {report.planned:,} images in {shards} ({report.new:,} new)", err=True)
        return
    shards = f"{report.complete:,} of {format_count(report.shards, 'shard')}"
    click.echo(f"embedded {report.embedded:,} of {report.planned:,} planned images now; complete: {shards}", err=True)
