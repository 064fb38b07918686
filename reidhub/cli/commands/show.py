"""``reidhub show``: print everything known about a checkpoint."""

import json

import click

from reidhub.cache.store import Cache
from reidhub.cli.candidates import list_names
from reidhub.cli.describe import make_json
from reidhub.cli.examples import Command
from reidhub.cli.options import SELECTOR, json_option, select_checkpoints
from reidhub.cli.tables import print_fields
from reidhub.errors import CacheError
from reidhub.zoo.artifact import GRADES
from reidhub.zoo.checkpoint import METRICS, Checkpoint, IndependentMeasurement, Score
from reidhub.zoo.describe import (
    describe_file,
    describe_gflops,
    describe_parameters,
    describe_training_data,
    write_unpinned_notice,
)
from reidhub.zoo.manifest import zoo


@click.command(
    "show",
    cls=Command,
    epilog=SELECTOR,
    examples="""
    # Print everything known about a checkpoint
    reidhub show osnet_x1_0.msmt17
    # Print all checkpoints of a model as JSON
    reidhub show 'osnet_x1_0.*' --json
    """,
)
@click.argument("selector", metavar="SELECTOR", shell_complete=list_names)
@json_option
def command(selector: str, *, as_data: bool) -> None:
    """Print everything known about the checkpoints that SELECTOR matches."""
    found = select_checkpoints((selector,))
    if as_data:
        click.echo(json.dumps([make_json(checkpoint) for checkpoint in found], indent=1))
        return
    for place, checkpoint in enumerate(found):
        if place:
            click.echo()
        fields = [*_list_model_fields(checkpoint), *_list_file_fields(checkpoint)]
        notices = [*checkpoint.notices, write_unpinned_notice(checkpoint)]
        print_fields(checkpoint.name, fields, [f"note: {notice}" for notice in notices if notice])


def _list_model_fields(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    classes = checkpoint.spec.num_classes
    scores = [("reported", _list_figures(score)) for score in checkpoint.scores]
    others = [
        ("by others", f"{_list_figures(one)}; {one.who}; {one.how}; {one.source}")
        for one in checkpoint.measured_elsewhere
    ]
    architecture, spec = zoo().architecture(checkpoint.model), checkpoint.input
    is_default = architecture is not None and architecture.default == checkpoint.name
    return [
        *([("default", f"yes: {checkpoint.model} alone means this checkpoint")] if is_default else []),
        ("trained on", describe_training_data(checkpoint) + (", from scratch" if checkpoint.from_scratch else "")),
        ("classes", "not published; read from the file" if classes is None else str(classes)),
        ("input", f"{spec.height}x{spec.width} (height x width), {spec.interpolation}"),
        ("distance", checkpoint.distance),
        ("parameters", describe_parameters(checkpoint)),
        ("GFLOPs", describe_gflops(checkpoint)),
        ("training", ", ".join((checkpoint.loss or "loss not published", *checkpoint.transforms))),
        *(scores or [("reported", "no score")]),
        *others,
        ("licence", checkpoint.licence),
    ]


def _list_figures(score: Score | IndependentMeasurement) -> str:
    return f"{score.dataset}: " + ", ".join(f"{m} {score.values[m]}" for m in METRICS if m in score.values)


def _list_file_fields(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    artifact = checkpoint.artifact
    sizes = " or ".join(f"{size:,}" for size in artifact.expected_size)
    try:
        cached = str(Cache().find(artifact) or "no")
    except CacheError as error:  # this user has no home folder
        cached = f"no; {error.message}"
    return [
        ("file", describe_file(checkpoint)),
        ("sha256", artifact.digest.hex if artifact.digest else "not known"),
        ("size", f"{artifact.size:,} bytes" if artifact.size else "not known"),
        *([("", f"computed, not published: {sizes} bytes")] if sizes else []),
        *(
            [("grade" if artifact.pinned else "of the size", f"{artifact.grade}: {GRADES[artifact.grade]}")]
            if artifact.grade
            else []
        ),
        *([("evidence", artifact.evidence)] if artifact.evidence else []),
        *((("source" if i == 0 else ""), f"{s.kind:<6}  {s.location}") for i, s in enumerate(artifact.sources)),
        ("cached", cached),
        ("manifest", checkpoint.manifest),
    ]
