"""``reidhub rank``: find the nearest images of a gallery, and draw them as contact sheets."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reidhub.cli.examples import Command
from reidhub.cli.options import (
    Form,
    architecture_option,
    format_options,
    model_argument,
    print_defaults,
    running_options,
)
from reidhub.cli.progress import show_images
from reidhub.cli.tables import Cell, print_table
from reidhub.zoo.own_files import is_own_file

if TYPE_CHECKING:
    from reidhub.retrieval.rank_job import RankReport

_LISTED = 20  # unreadable images that are named
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    "rank",
    cls=Command,
    examples="""
    # Draw the ten nearest images of a folder on a contact sheet
    reidhub rank osnet_x1_0.msmt17 query.jpg --gallery gallery --html sheet.html
    # Search in embeddings that `reidhub embed` wrote
    reidhub rank osnet_x1_0.msmt17 query.jpg --gallery embeddings --top 20
    """,
)
@model_argument
@click.argument("queries", metavar="QUERY...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--gallery",
    metavar="DIR-or-OUT",
    type=click.Path(),
    required=True,
    help="Folder of images, which are embedded now; or the folder OUT of an earlier `reidhub embed`.",
)
@click.option(
    "--top", metavar="N", type=click.IntRange(min=1), default=10, show_default=True, help="Images for each query."
)
@click.option("--html", type=_FILE, help="Also write a contact sheet as one HTML page to this file.")
@click.option("--png", type=_FILE, help="Also write a contact sheet as one picture to this file.")
@click.option(
    "--order",
    type=click.Choice(["given", "worst"]),
    default="given",
    show_default=True,
    help="Order of the queries. worst: the worst queries first. A query is worse if its first right image comes later. "
    "If the file names do not tell which images are right, it is worse if its nearest image is further away.",
)
@click.option(
    "--distance",
    type=click.Choice(["euclidean", "cosine"]),
    help="By default the distance of the checkpoint; euclidean is squared.",
)
@click.option(
    "--rerank",
    is_flag=True,
    help="Rank by k-reciprocal re-ranking. It compares all images with each other: memory grows with the gallery, time "
    "with its square. At most 100,000 images.",
)
@architecture_option
@running_options
@format_options
def command(
    model: str,
    queries: tuple[str, ...],
    *,
    gallery: str,
    html: Path | None,
    png: Path | None,
    form: Form,
    **options: Any,
) -> None:
    """Find the nearest images of a gallery for each query, exactly.

    NAME-or-FILE is the name of a checkpoint (osnet_x1_0.msmt17) or of a model (osnet_x1_0: its default checkpoint), the
    path of a checkpoint file (my.pth), or an exported file (my.onnx). QUERY is an image, or a folder of images.

    A query that is in the gallery too is left out of its own ranking. Images at the same distance are in gallery order.
    Right, wrong and same-camera images are marked if query and gallery are named as in Market-1501
    (0002_c1s1_000451_03.jpg) or DukeMTMC-reID (0005_c2_f0046985.jpg).

    Images that cannot be read are left out, and the exit code is 1.
    """
    if not is_own_file(model):
        print_defaults((model,))
    report = _rank(model, queries, gallery, **options)
    if form == "json":
        click.echo(json.dumps([asdict(ranking) for ranking in report.rankings], indent=1))
    else:
        header = ("query", "place", "path", "box", "distance", "mark")
        print_table(header, list(_make_rows(report)), right=("place", "distance"), form=form, shared=1)
    sys.stdout.flush()
    _print_notes(report)
    if html:
        from reidhub.retrieval.sheets.page import write_page

        _print_written(html, write_page(report, html))
    if png:
        from reidhub.retrieval.sheets.picture import write_picture

        _print_written(png, write_picture(report, png))
    sys.exit(int(bool(report.unreadable)))


def _rank(
    model: str, queries: tuple[str, ...], gallery: str, *, batch_size: int | None, top: int, **options: Any
) -> "RankReport":
    from reidhub.api.retrieval import ModelChoice
    from reidhub.devices import find_device
    from reidhub.retrieval.rank_job import RankChoices, RankJob
    from reidhub.verification.settings import explain_out_of_memory

    settings = {name: options.pop(name) for name in ("architecture", "device", "precision")}
    choice = ModelChoice(model, batch=batch_size, **settings)
    choice.check()
    job = RankJob.of(queries, gallery, RankChoices(top, **options))
    with explain_out_of_memory(find_device(settings["device"])):
        return job.run(choice.make, partial(show_images, "rank"))


def _make_rows(report: "RankReport") -> Iterator[tuple[Cell, ...]]:
    for ranking in report.rankings:
        for image in ranking.images:
            box = None if image.box is None else " ".join(f"{edge:g}" for edge in image.box)
            yield ranking.query, image.place, image.path, box, image.distance, image.mark


def _print_notes(report: "RankReport") -> None:
    """Print on stderr how the images were ranked, and which could not be read."""
    reranked = ", re-ranked (k-reciprocal)" if report.choices.rerank else ""
    click.echo(f"{report.distance} distance{reranked}; {report.order}", err=True)
    if left_out := sum(ranking.in_gallery for ranking in report.rankings):
        queries = "1 query is" if left_out == 1 else f"{left_out} queries are"
        click.echo(f"note: {queries} in the gallery too; each is left out of its own ranking", err=True)
    reasons = list(report.unreadable.values())
    for reason in reasons[:_LISTED]:
        click.echo(f"error: {reason}", err=True)
    if len(reasons) > _LISTED:
        click.echo(f"... and {len(reasons) - _LISTED} more", err=True)


def _print_written(path: Path, note: str | None) -> None:
    click.echo(f"wrote {path}", err=True)
    if note:
        click.echo(f"note: {path}: {note}", err=True)
