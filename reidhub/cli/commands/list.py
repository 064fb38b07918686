"""``reidhub list``: every checkpoint, one line each."""

import json

import click

from reidhub.cli.describe import as_json, file_state, score_text
from reidhub.cli.tables import counted, human_size, print_table
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.manifest import zoo


@click.command("list")
@click.argument("selectors", metavar="[SELECTOR]...", nargs=-1)
@click.option("--json", "as_data", is_flag=True, help="A list of objects, for programs.")
def command(selectors: tuple[str, ...], *, as_data: bool) -> None:
    """Every checkpoint, with scores, size and what is known of its file.

    SELECTOR is a name (osnet_x1_0.msmt17), a model (osnet_x1_0: its default checkpoint) or a glob ('*.msmt17').
    """
    chosen = selected(selectors) if selectors else list(zoo().checkpoints)
    if as_data:
        click.echo(json.dumps([as_json(checkpoint) for checkpoint in chosen], indent=1))
        return
    header = ("checkpoint", "params", "GFLOPs", "rank-1 (mAP), or top-1 / top-5", "size", "file")
    print_table(header, [_row(checkpoint) for checkpoint in chosen], right=("params", "GFLOPs", "size"))
    unpinned = sum(not checkpoint.artifact.pinned for checkpoint in chosen)
    click.echo(f"{counted(len(chosen), 'checkpoint')}, {unpinned} unpinned (no sha256 known)", err=True)


def selected(selectors: tuple[str, ...]) -> list[Checkpoint]:
    """The checkpoints that any of the selectors means, each once."""
    return list({c.name: c for selector in selectors for c in zoo().find(selector)}.values())


def _row(checkpoint: Checkpoint) -> tuple[str, ...]:
    return (
        checkpoint.name,
        f"{checkpoint.params_m} M" if checkpoint.params_m else "",
        checkpoint.gflops or "",
        "\n".join(score_text(score) for score in checkpoint.scores) or "none published",
        human_size(checkpoint.artifact.size),
        file_state(checkpoint),
    )
