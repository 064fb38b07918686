"""The forms of a table: for a terminal, a pipe, CSV, Markdown and LaTeX."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from support.terminals import run_on_terminal
from support.zoo_entries import reidhub

from reidhub.cli.markup import write_csv, write_latex
from reidhub.cli.tables import _draw
from reidhub.files.markdown import write_markdown
from reidhub.zoo.manifest import zoo

HOSTILE = [
    *("osnet_x1_0.ms_d_c", "_a_ __b__", "*a* **b**", "`code`", "a|b", r"a\|b \\ \textbf{x}", "[a](b)", "<b>&amp;</b>"),
    *("100 % #1 $x$ ~a~ ~~b~~ ^2 {y}", "[2]", "* 1", "a -- b --- c", "# 1", "- a", 'a "b", c', "é ü", "&lt;", "a\nb"),
]
HEADER = ("name_1", "50 %")
ROWS = [[text, f"{place}.5"] for place, text in enumerate(HOSTILE)]
FLAT = [[text.replace("\n", "; "), number] for text, number in ROWS]


def render(markdown: str) -> list[list[str]]:
    """The texts of the cells of a Markdown table, as a reader sees them."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    assert (tokens[0].type, tokens[-1].type) == ("table_open", "table_close")
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            assert all(child.type in ("text", "text_special") for child in token.children), token.content
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def test_csv_gives_every_cell_back_and_has_one_line_per_row() -> None:
    text = write_csv(HEADER, [*ROWS, [1 / 3, None]])

    assert list(csv.reader(io.StringIO(text))) == [[*HEADER], *FLAT, [repr(1 / 3), ""]]
    assert len(text.splitlines()) == len(ROWS) + 2


def test_markdown_shows_every_cell_as_it_is() -> None:
    text = write_markdown(HEADER, ROWS, right=("50 %",))

    assert render(text) == [[*HEADER], *FLAT]
    assert "osnet_x1_0.ms_d_c" in text, "a name must stay easy to read in the source"
    assert 'style="text-align:right"' in MarkdownIt("commonmark").enable("table").render(text)


def test_latex_is_balanced_and_escapes_every_special_character() -> None:
    text = write_latex(HEADER, ROWS, right=("50 %",))

    lines = text.splitlines()
    assert (lines[0], lines[-1]) == (r"\begin{tabular}{lr}", r"\end{tabular}")
    for line in (line for line in lines[1:-1] if line != r"\hline"):
        assert line.endswith(r" \\")
        bare = re.sub(r"\\text\w+\{\}|\\[_&%#${}]|\{[\[*]\}|-\{\}(?=-)", "", line.removesuffix(r" \\"))
        assert bare.count("&") == 1 and not set(bare) & set("\\%#$_^~{}[*<>|"), line
        assert "--" not in bare or "-{}-" in line


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    table = write_latex(HEADER, ROWS, right=("50 %",)) + "\n\n" + reidhub("list", "--format", "latex").stdout
    document = f"\\documentclass{{article}}\n\\begin{{document}}\n\\tiny\n{table}\n\\end{{document}}\n"
    (tmp_path / "table.tex").write_text(document, encoding="utf-8")

    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "table.tex"], cwd=tmp_path, capture_output=True
    )

    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_the_forms_of_list_have_the_same_figures() -> None:
    read = {form: reidhub("list", "--format", form) for form in ("json", "csv", "markdown", "latex")}
    assert all(done.stderr == read["csv"].stderr for form, done in read.items() if form != "json")
    records = list(csv.DictReader(io.StringIO(read["csv"].stdout)))
    header, *rendered = render(read["markdown"].stdout)
    latex = [line for line in read["latex"].stdout.splitlines() if line.endswith(r"\\")]

    assert len(records) == len(rendered) == len(latex) - 1
    for record, cells in zip(records, rendered, strict=True):
        assert {title: record[title] for title in header} == dict(zip(header, cells, strict=True))
    metrics = ("rank1", "rank5", "rank10", "mAP", "top1", "top5")
    expected = [
        (entry["name"], entry["size"], score.get("dataset"), *(score.get(metric) for metric in metrics))
        for entry in json.loads(read["json"].stdout)
        for score in entry["scores"] or [{}]
    ]
    assert [
        (
            *(record["checkpoint"], record["size"] and int(record["size"]), record["dataset"]),
            *(record[metric] for metric in metrics),
        )
        for record in records
    ] == [tuple(value or "" for value in row) for row in expected]


def test_json_and_another_form_contradict_each_other() -> None:
    wrong = reidhub("list", "--json", "--format", "csv")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: --json means --format json, but --format csv was given too\nhint: leave one out\n"
    same = [reidhub("list", "hacnn.msmt17", *options).stdout for options in (["--json"], ["--json", "--format=json"])]
    assert same[0] == same[1] and json.loads(same[0])


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
def test_no_word_of_the_list_is_broken_and_no_line_is_too_long(columns: int) -> None:
    written = {word.strip(";") for line in reidhub("list").stdout.splitlines()[1:] for word in line.split()}
    shown = run_on_terminal("list", environment={}, with_messages=False, columns=columns)

    assert written <= set(shown.split()) and "─" in shown
    assert max(map(len, shown.splitlines())) <= columns
    assert [line.split()[0] for line in shown.splitlines() if line[0] not in " ─"] == [
        *("checkpoint", *(checkpoint.name for checkpoint in zoo().checkpoints))
    ]


def test_no_word_of_verify_is_broken_on_a_narrow_terminal(tmp_path: Path) -> None:
    shown = run_on_terminal("verify", "--all", "--data-root", str(tmp_path), environment={}, with_messages=False)

    assert {checkpoint.name for checkpoint in zoo().checkpoints if checkpoint.scores} <= set(shown.split())
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_results_of_every_checkpoint_fit_on_a_terminal(columns: int) -> None:
    header = ("checkpoint", "dataset", "metric", "reported", "measured", "hits", "verdict", "note")
    rows = [
        [checkpoint.name, score.dataset, metric, figure, f"{figure}00", "11000/11659", "not comparable", "a b c " * 20]
        for checkpoint in zoo().checkpoints
        for score in checkpoint.scores
        for metric, figure in score.values.items()
    ]

    lines = list(_draw(header, rows, ("reported", "measured", "hits"), 2, columns))

    assert max(map(len, lines)) <= columns
    assert {word for row in rows for cell in row for word in cell.split()} <= set(" ".join(lines).split())


def test_a_row_takes_several_lines_if_the_terminal_is_narrow() -> None:
    header = ("checkpoint", "data", "metric", "measured", "note")
    note = "a note of five words"
    rows = [["a.one", "x", "rank1", "1.0", note], ["a.one", "x", "mAP", "22.0", note], ["b.one", "x", "mAP", "3.0", ""]]

    assert list(_draw(header, rows, ("measured",), 2, 20)) == [
        "checkpoint  data",
        "    metric  measured",
        "    note",
        "────────────────────",
        "a.one       x",
        "    rank1        1.0",
        "    mAP         22.0",
        "    a note of five",
        "    words",
        "b.one       x",
        "    mAP          3.0",
    ]
    assert list(_draw(header, rows, ("measured",), 2, 80))[2:] == [
        "a.one       x     rank1        1.0  a note of five words",
        "a.one       x     mAP         22.0  a note of five words",
        "b.one       x     mAP          3.0",
    ]


def test_a_word_longer_than_the_terminal_stays_whole_and_wide_characters_count_twice() -> None:
    path = "/home/someone/" + "x" * 40
    lines = list(_draw(("file", "state"), [[path, "broken"], ["写真", "intact"]], (), 0, 30))
    assert path in lines and "    broken" in lines
    assert list(_draw(("file", "n"), [["写真", "1"], ["ab", "2"]], (), 0, 30))[2:] == ["写真  1", "ab    2"]
