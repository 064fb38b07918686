"""``reidhub show``: everything known of one checkpoint."""

import json
from collections.abc import Iterator

import click

from reidhub.cache.store import Cache
from reidhub.cli.describe import as_json, computed_cost, file_state, unpinned_notice
from reidhub.cli.options import json_option
from reidhub.zoo.checkpoint import METRICS, Checkpoint
from reidhub.zoo.manifest import zoo


@click.command("show")
@click.argument("selector")
@json_option
def command(selector: str, *, as_data: bool) -> None:
    """Everything known of the checkpoints that SELECTOR means."""
    found = zoo().find(selector)
    if as_data:
        click.echo(json.dumps([as_json(checkpoint) for checkpoint in found], indent=1))
        return
    click.echo("\n\n".join(_text(checkpoint) for checkpoint in found))


def _text(checkpoint: Checkpoint) -> str:
    fields = [*_model_fields(checkpoint), *_file_fields(checkpoint)]
    width = max(len(name) for name, _ in fields)
    lines = [f"  {name:<{width}}  {text}".rstrip() for name, text in fields]
    notices = [f"  note: {notice}" for notice in (*checkpoint.notices, unpinned_notice(checkpoint)) if notice]
    return "\n".join([checkpoint.name, *lines, *notices])


def _model_fields(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    classes = checkpoint.spec.num_classes
    trained = " + ".join(checkpoint.trained_on) + (" (all images of it)" if checkpoint.combineall else "")
    scores = [
        ("reported", f"{score.dataset}: " + ", ".join(f"{m} {score.values[m]}" for m in METRICS if m in score.values))
        for score in checkpoint.scores
    ]
    return [
        ("trained on", trained + (", from scratch" if checkpoint.from_scratch else "")),
        ("classes", "not published; read from the file" if classes is None else str(classes)),
        ("input", f"{checkpoint.input.height}x{checkpoint.input.width} (height x width)"),
        ("distance", checkpoint.distance),
        ("parameters", "; ".join(_parameters(checkpoint))),
        ("GFLOPs", "; ".join(_gflops(checkpoint))),
        ("training", ", ".join((checkpoint.loss or "loss not published", *checkpoint.transforms))),
        *(scores or [("reported", "no score published")]),
        ("licence", checkpoint.licence),
    ]


def _parameters(checkpoint: Checkpoint) -> Iterator[str]:
    """As printed and as computed; by calls: a block counts once per call."""
    architecture, computed = zoo().architecture(checkpoint.model), computed_cost(checkpoint)
    by_calls = architecture is not None and architecture.printed_params == "calls"
    how = ", counted by calls" if by_calls else ""
    yield f"reported {checkpoint.params_m} M{how}" if checkpoint.params_m else "not printed"
    if computed and computed.params == computed.params_by_calls:
        yield f"computed {computed.params:,}"
    elif computed:
        yield f"computed {computed.params:,} distinct, {computed.params_by_calls:,} by calls"


def _gflops(checkpoint: Checkpoint) -> Iterator[str]:
    computed = computed_cost(checkpoint)
    yield f"reported {checkpoint.gflops}" if checkpoint.gflops else "not printed"
    if computed:
        yield f"computed {computed.multiply_adds / 1e9:.3f} ({computed.multiply_adds:,} multiply-adds)"


def _file_fields(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    artifact = checkpoint.artifact
    cached = Cache().find(artifact)
    return [
        ("file", file_state(checkpoint)),
        ("sha256", artifact.digest.hex if artifact.digest else "not known"),
        ("size", f"{artifact.size:,} bytes" if artifact.size else "not known"),
        *([("evidence", artifact.evidence)] if artifact.evidence else []),
        *((("source" if i == 0 else ""), f"{s.kind:<6}  {s.location}") for i, s in enumerate(artifact.sources)),
        ("cached", str(cached) if cached else "no"),
        ("manifest", checkpoint.manifest),
    ]
