"""``reidhub list``: list checkpoints with their scores and sizes."""

import json

import click

from reidhub.cli.describe import describe_file, format_score, make_json
from reidhub.cli.options import OPTIONAL_SELECTOR, json_option, optional_selectors_argument, select_checkpoints
from reidhub.cli.tables import format_count, format_size, print_table
from reidhub.zoo.checkpoint import Checkpoint


@click.command("list", epilog=OPTIONAL_SELECTOR)
@optional_selectors_argument
@json_option
def command(selectors: tuple[str, ...], *, as_data: bool) -> None:
    """List checkpoints with their scores, their size and how their file is checked."""
    chosen = select_checkpoints(selectors)
    if as_data:
        click.echo(json.dumps([make_json(checkpoint) for checkpoint in chosen], indent=1))
        return
    header = ("checkpoint", "params", "GFLOPs", "rank-1 (mAP), or top-1 / top-5", "size", "file")
    print_table(header, [_make_row(checkpoint) for checkpoint in chosen], right=("params", "GFLOPs", "size"))
    unpinned = sum(not checkpoint.artifact.pinned for checkpoint in chosen)
    click.echo(f"{format_count(len(chosen), 'checkpoint')}, {unpinned} unpinned (no sha256 known)", err=True)


def _make_row(checkpoint: Checkpoint) -> tuple[str, ...]:
    return (
        checkpoint.name,
        f"{checkpoint.params_m} M" if checkpoint.params_m else "",
        checkpoint.gflops or "",
        "\n".join(format_score(score) for score in checkpoint.scores) or "none published",
        format_size(checkpoint.artifact.size),
        describe_file(checkpoint),
    )
