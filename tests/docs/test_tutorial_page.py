"""The commands and programs of the tutorial run from its first line to its last, and print what the page shows."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.documentation import Desk
from support.paths import ROOT
from support.shown_commands import read_commands

from reidhub.cli import cli

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
STEPS = re.findall(r"```(shell|python)\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", PAGE, re.S)
END = "== the end of a step =="


def write_script(folder: Path) -> str:
    """Write all steps as one script: first the commands, then the programs as one program, in the same folder."""
    program = f"print('{END}')\n".join(code for kind, code, _ in STEPS if kind == "python")
    (folder / "page.py").write_text(program)
    steps = [code for kind, code, _ in STEPS if kind == "shell"]
    return f"echo '{END}'\n".join(["exec 2>&1; set -e; start=$PWD\n", *steps, 'python "$start/page.py"\n'])


def make_words(text: str) -> list[str | float]:
    """Split an output into words, and into numbers that rounding may change in their last digits."""
    text = re.sub(r"\(on .*\)", "(on this processor)", text)
    return [float(word) if re.fullmatch(r"\d+\.\d{2,}", word) else word for word in text.split()]


def agree(got: str, shown: str) -> bool:
    got_words, shown_words = make_words(got), make_words(shown)
    return len(got_words) == len(shown_words) and all(
        word == (pytest.approx(other, rel=1e-3) if isinstance(other, float) else other)
        for word, other in zip(got_words, shown_words, strict=True)
    )


@pytest.mark.long
def test_every_step_prints_what_the_page_shows(desk: Desk):
    folder = desk.home / "new"
    folder.mkdir()
    done = desk.run(["bash", "-c", f"cd {shlex.quote(str(folder))}; {write_script(folder)}"], COLUMNS="100")

    assert done.returncode == 0, done.stdout
    places = {str(folder): "/home/ann", str(Path(sys.executable).parent): "/home/ann/.venv/bin"}
    printed = done.stdout
    for place, shown in places.items():
        printed = printed.replace(place, shown)
    in_order = [shown for kind in ("shell", "python") for step, _, shown in STEPS if step == kind]
    for got, shown in zip(printed.split(f"{END}\n")[1:], in_order, strict=True):
        assert agree(got, shown), f"printed:\n{got}\nthe page shows:\n{shown}"
    assert (folder / "demo" / "data" / "demo_world" / "ranking.html").exists()


def test_the_commands_have_options_that_exist():
    lines = [line for kind, code, _ in STEPS if kind == "shell" for line in read_commands(code)]
    commands = [shlex.split(line.partition(" > ")[0])[1:] for line in lines if line.startswith("reidhub ")]
    assert {"demo", "show", "rank", "embed", "evaluate", "verify"} <= {words[0] for words in commands}
    for words in commands:
        parsed = CliRunner().invoke(cli, [*words, "--help"])
        assert parsed.exit_code == 0, parsed.output


def test_outputs_agree_only_if_their_words_and_nearly_their_numbers_do():
    assert agree("rank1  67.5001 right", "rank1 67.5002 right\n")
    assert not agree("rank1 67.9 right", "rank1 67.5 right")
    assert not agree("rank1 67.91 right", "rank1 67.51 right")
    assert not agree("rank1 67.51 right", "rank1 67.51")
