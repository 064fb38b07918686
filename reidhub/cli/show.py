"""``reidhub show``: everything known of one checkpoint."""

import json

import click

from reidhub.cache import Cache
from reidhub.checkpoint import METRICS, Checkpoint
from reidhub.cli.describe import as_json, file_state, unpinned_notice
from reidhub.manifest import zoo


@click.command("show")
@click.argument("selector")
@click.option("--json", "as_data", is_flag=True, help="A list of objects, for programs.")
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
        ("parameters", f"{checkpoint.params_m} M" if checkpoint.params_m else "not printed"),
        ("GFLOPs", checkpoint.gflops or "not printed"),
        ("training", ", ".join((checkpoint.loss or "loss not published", *checkpoint.transforms))),
        *(scores or [("reported", "no score published")]),
        ("licence", checkpoint.licence),
    ]


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
