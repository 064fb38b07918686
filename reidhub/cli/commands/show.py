"""``reidhub show``: print everything known about a checkpoint."""

import json
from collections.abc import Iterator

import click

from reidhub.cache.store import Cache
from reidhub.cli.candidates import list_names
from reidhub.cli.describe import describe_file, find_cost, has_usual_size, make_json, write_unpinned_notice
from reidhub.cli.examples import Command
from reidhub.cli.options import SELECTOR, json_option, select_checkpoints
from reidhub.cli.tables import print_fields
from reidhub.errors import CacheError
from reidhub.zoo.artifact import GRADES
from reidhub.zoo.checkpoint import METRICS, Checkpoint, IndependentMeasurement, Score
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
    trained = " + ".join(checkpoint.trained_on or ("not known",)) + (
        " (all images of it)" if checkpoint.combineall else ""
    )
    scores = [("reported", _list_figures(score)) for score in checkpoint.scores]
    others = [
        ("by others", f"{_list_figures(one)}; {one.who}; {one.how}; {one.source}")
        for one in checkpoint.measured_elsewhere
    ]
    architecture, spec = zoo().architecture(checkpoint.model), checkpoint.input
    is_default = architecture is not None and architecture.default == checkpoint.name
    return [
        *([("default", f"yes: {checkpoint.model} alone means this checkpoint")] if is_default else []),
        ("trained on", trained + (", from scratch" if checkpoint.from_scratch else "")),
        ("classes", "not published; read from the file" if classes is None else str(classes)),
        ("input", f"{spec.height}x{spec.width} (height x width), {spec.interpolation}"),
        ("distance", checkpoint.distance),
        ("parameters", "; ".join(_describe_parameters(checkpoint))),
        ("GFLOPs", "; ".join(_describe_gflops(checkpoint))),
        ("training", ", ".join((checkpoint.loss or "loss not published", *checkpoint.transforms))),
        *(scores or [("reported", "no score published")]),
        *others,
        ("licence", checkpoint.licence),
    ]


def _list_figures(score: Score | IndependentMeasurement) -> str:
    return f"{score.dataset}: " + ", ".join(f"{m} {score.values[m]}" for m in METRICS if m in score.values)


def _describe_parameters(checkpoint: Checkpoint) -> Iterator[str]:
    """Describe the number of parameters: as published, and as computed from the architecture."""
    architecture, computed = zoo().architecture(checkpoint.model), find_cost(checkpoint)
    by_calls = architecture is not None and architecture.printed_params == "calls"
    how = ", counted by calls" if by_calls else ""
    yield f"reported {checkpoint.params_m} M{how}" if checkpoint.params_m else "not printed"
    if computed and computed.params == computed.params_by_calls:
        yield f"computed {computed.params:,}"
    elif computed:
        yield f"computed {computed.params:,} distinct, {computed.params_by_calls:,} by calls"


def _describe_gflops(checkpoint: Checkpoint) -> Iterator[str]:
    computed = find_cost(checkpoint)
    yield f"reported {checkpoint.gflops}" if checkpoint.gflops else "not printed"
    if computed and has_usual_size(checkpoint):
        yield f"computed {computed.multiply_adds / 1e9:.3f} ({computed.multiply_adds:,} multiply-adds)"
    elif computed:
        yield "not computed for this image size"


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
