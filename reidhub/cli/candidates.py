"""Lists what a shell can offer for an argument or an option: names of the zoo, and files. Nothing here imports torch.

Each function is a ``shell_complete`` of click: it gets the context, the parameter and the text before the cursor.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from reidhub.zoo.manifest import Manifest, add_manifests, zoo

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def list_names(ctx: click.Context, _: click.Parameter, text: str) -> list[str]:
    """List the models and checkpoints that start with ``text``. After ``*``, list globs such as ``*.msmt17``."""
    names = [name.rpartition(".") for name in _read_zoo(ctx).by_name]
    if text.startswith("*"):
        return _select((f"*.{tag}" for _, _, tag in names), text)
    return _select((word for model, dot, tag in names for word in (model, model + dot + tag)), text)


def list_names_and_files(ctx: click.Context, param: click.Parameter, text: str) -> "list[CompletionItem[str]]":
    """List the names that start with ``text``, and let the shell add the files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(text, type="file"), *map(CompletionItem, list_names(ctx, param, text))]


def list_architectures(ctx: click.Context, _: click.Parameter, text: str) -> list[str]:
    """List the architectures that start with ``text``."""
    return _select((architecture.name for architecture in _read_zoo(ctx).architectures), text)


def list_training_sets(ctx: click.Context, _: click.Parameter, text: str) -> list[str]:
    """List the datasets that a checkpoint was trained on."""
    return _select((name for one in _read_zoo(ctx).checkpoints for name in one.trained_on), text)


def list_test_sets(ctx: click.Context, _: click.Parameter, text: str) -> list[str]:
    """List the datasets that a checkpoint has a score on."""
    return _select((score.dataset for one in _read_zoo(ctx).checkpoints for score in one.scores), text)


def list_readable_datasets(_: click.Context, __: click.Parameter, text: str) -> list[str]:
    """List the datasets that reidhub can read."""
    from reidhub.datasets import DATASETS

    return _select(DATASETS, text)


def list_devices(_: click.Context, __: click.Parameter, text: str) -> list[str]:
    """List the kinds of devices."""
    return _select(("cpu", "cuda"), text)


def _read_zoo(ctx: click.Context) -> Manifest:
    """Read the zoo and the manifests of ``--manifest``; these are otherwise added only when a command runs."""
    with add_manifests(file.absolute() for file in ctx.find_root().params.get("manifests", ())):
        return zoo()


def _select(words: Iterable[str], text: str) -> list[str]:
    return sorted({word for word in words if word.startswith(text)})
