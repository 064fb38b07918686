"""``reidhub list``: every checkpoint, one line each."""

import json

import click

from reidhub.cli.describe import as_json, file_state, score_text
from reidhub.cli.options import OPTIONAL_SELECTOR, json_option, optional_selectors_argument, select_checkpoints
from reidhub.cli.tables import counted, human_size, print_table
from reidhub.zoo.checkpoint import Checkpoint


@click.command("list", epilog=OPTIONAL_SELECTOR)
@optional_selectors_argument
@json_option
def command(selectors: tuple[str, ...], *, as_data: bool) -> None:
    """List checkpoints with their scores, their size and how their file is checked."""
    chosen = select_checkpoints(selectors)
    if as_data:
        click.echo(json.dumps([as_json(checkpoint) for checkpoint in chosen], indent=1))
        return
    header = ("checkpoint", "params", "GFLOPs", "rank-1 (mAP), or top-1 / top-5", "size", "file")
    print_table(header, [_row(checkpoint) for checkpoint in chosen], right=("params", "GFLOPs", "size"))
    unpinned = sum(not checkpoint.artifact.pinned for checkpoint in chosen)
    click.echo(f"{counted(len(chosen), 'checkpoint')}, {unpinned} unpinned (no sha256 known)", err=True)


def _row(checkpoint: Checkpoint) -> tuple[str, ...]:
    return (
        checkpoint.name,
        f"{checkpoint.params_m} M" if checkpoint.params_m else "",
        checkpoint.gflops or "",
        "\n".join(score_text(score) for score in checkpoint.scores) or "none published",
        human_size(checkpoint.artifact.size),
        file_state(checkpoint),
    )
