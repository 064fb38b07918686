"""Commands whose ``--help`` ends with examples. The tests run every example."""

from inspect import cleandoc
from typing import Any

import click


class Command(click.Command):
    """A command with examples. Its epilog is the last paragraph before the options, not after them.

    Args:
        examples: two command lines, as in a shell. Before each, a comment says what it does. Indentation is removed.
    """

    def __init__(self, *arguments: Any, examples: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = cleandoc(examples)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the description and the epilog."""
        super().format_help_text(ctx, formatter)
        super().format_epilog(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples. Their lines are not wrapped, so that they can be copied."""
        with formatter.section("Examples"):
            indent = " " * formatter.current_indent
            formatter.write("".join(f"{indent}{line}\n" for line in self.examples.splitlines()))


class Group(Command, click.Group):
    """A group of commands, with examples of its own."""

    command_class = Command
