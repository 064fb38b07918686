"""Every code block of README.md and the pages in ``docs/`` is run.

The word after the three backticks says what a block is:

- ``python``: run. The blocks of a page share their names, top to bottom. Names that a reader brings are in `GIVEN`.
  A block whose first line is the name of a file, such as ``# small.py``, is written to this file first.
  Blocks that define tests are run by pytest. A block that imports one of `OPTIONAL` is run only where that package is
  installed; ``make test-integrations`` installs them all. The blocks of `SLOW` pages wait for ``--long``.
- ``shell``: each command is run, in the home and folder of `support.documentation`. Words in capitals stand for what a
  reader puts there (`STANDS_FOR`). `reidhub verify` runs with ``--dry-run`` where it would need a whole dataset, and
  the commands in `COMPUTING` with ``--help``, which still parses their options, unless ``--long`` is given.
- ``yaml``: fields; not run. A block with the name of a file in its first line is written to this file, as in Python.
- ``text``, ``json``: output and layouts; not run.

``test_tutorial_page.py`` runs the tutorial, because its steps need each other.

Blocks that are only indented are refused, so that none is forgotten.
"""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.documentation import Desk
from support.paths import ROOT
from support.shown_commands import adapt, read_commands

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN, SHOWN = {"python", "shell"}, {"text", "yaml", "json"}
GIVEN = """
from pathlib import Path
import numpy
from PIL import Image
paths = sorted(Path("gallery").glob("*.jpg"))[:2]
image = Image.open("query.jpg")
frame, xyxy = numpy.asarray(image)[..., ::-1], [[4, 0, 50, 120]]
"""
OPTIONAL = {
    *("boxmot", "deep_sort_realtime", "reid", "supervision", "trackers", "ultralytics"),
    *("duckdb", "faiss", "lancedb", "pandas", "qdrant_client"),
}
SLOW = {
    "python": {
        f"docs/{name}.md" for name in ("ci", "embedding", "export", "index", "quickstart", "ranking", "recipes")
    },
    "shell": {"docs/publishing.md"},  # its commands need the files of those before
}
COMPUTING = tuple(f"reidhub {name} " for name in ("activation", "card", "embed", "evaluate", "publish", "rank", "site"))
"""Beginnings of commands that take seconds, because they import torch."""


@dataclass(frozen=True)
class Block:
    """A code block: the page, the line of its first code, the word after the backticks, the code."""

    page: Path
    line: int
    kind: str
    code: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file_name(self) -> str | None:
        """The name of a file in the first line."""
        found = re.match(r"# ([\w.]+\.(?:yaml|py))\n", self.code)
        return found and found[1]


def lacks_package(block: Block) -> bool:
    """Return True if a block imports a package of `OPTIONAL` that is not installed."""
    imported = re.findall(r"^(?:from|import) (\w+)", block.code, re.M)
    return any(find_spec(name) is None for name in OPTIONAL.intersection(imported))


def read_blocks(page: Path, text: str) -> list[Block]:
    """All fenced blocks of a page; one inside a list loses the list's indentation."""
    blocks, lines = [], text.splitlines()
    fences = [number for number, line in enumerate(lines) if line.lstrip().startswith("```")]
    for start, end in zip(fences[::2], fences[1::2], strict=True):
        indent = len(lines[start]) - len(lines[start].lstrip())
        code = "\n".join(line[indent:] for line in lines[start + 1 : end])
        blocks.append(Block(page, start + 2, lines[start].strip().removeprefix("```"), code))
    return blocks


def find_indented_code(text: str) -> list[str]:
    """Lines that Markdown shows as code only because they are indented: outside of fences and lists."""
    found, fenced, in_list, before = [], False, False, ""
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and line.startswith("    ") and line.strip() and not in_list and (not before or found):
            found.append(line)
        elif line.strip() and not line.startswith(" "):
            in_list = bool(re.match(r"([-*]|\d+\.) ", line))
        before = line.strip()
    return found


BLOCKS = [block for page in PAGES for block in read_blocks(page, page.read_text(encoding="utf-8"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_whether_it_is_run(page: Path):
    assert {block.kind for block in BLOCKS if block.page == page} <= RUN | SHOWN
    assert find_indented_code(page.read_text(encoding="utf-8")) == []


def pages_with(kind: str, *, tests: bool = False) -> list:
    chosen: dict[Path, list[Block]] = {}
    for block in BLOCKS:
        if block.kind == kind and ("def test_" in block.code) is tests and block.page.name != "tutorial.md":
            chosen.setdefault(block.page, []).append(block)
    return [
        pytest.param(page, blocks, id=name, marks=pytest.mark.long if name in SLOW[kind] else ())
        for page, blocks in chosen.items()
        for name in [name_of(page)]
    ]


@pytest.mark.parametrize(("page", "blocks"), pages_with("python"))
def test_the_python_blocks_of_a_page_run_one_after_the_other(page: Path, blocks: list[Block], desk: Desk):
    program = desk.folder / "page.py"
    write_files(page, desk)
    runnable = [block for block in blocks if not block.file_name and not lacks_package(block)]
    if not runnable:
        pytest.skip("each block needs a package that is missing; `make test-integrations` installs it")
    program.write_text(GIVEN + "\n".join(f"# {block.place}\n{block.code}" for block in runnable))

    done = desk.run(["python", "page.py"])

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("page", "blocks"), pages_with("python", tests=True))
def test_the_tests_in_the_blocks_of_a_page_pass(page: Path, blocks: list[Block], desk: Desk):
    for number, block in enumerate(blocks):
        (desk.folder / f"test_block_{number}.py").write_text(block.code)

    done = desk.run(["python", "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", desk.folder, desk.folder])

    assert done.returncode == 0, done.stdout
    assert f"{sum(block.code.count('def test_') for block in blocks)} passed" in done.stdout


@pytest.mark.parametrize(("page", "blocks"), pages_with("shell"))
def test_the_commands_of_a_page_run(page: Path, blocks: list[Block], desk: Desk, long: bool):
    write_files(page, desk)
    for block in blocks:
        settings: list[str] = []
        for command in read_commands(block.code):
            if command.startswith("export "):
                settings.append(command)
                continue
            line = adapt(command)
            if line is None:
                continue
            if line.startswith(COMPUTING) and not long:
                line += " --help"
            done = desk.run(["bash", "-c", "; ".join([*settings, line])])
            assert done.returncode == 0, f"{block.place}: {line}\n{done.stderr}"


def write_files(page: Path, desk: Desk) -> None:
    """Write the blocks of a page that have the name of a file to these files."""
    for block in BLOCKS:
        if block.page == page and block.file_name:
            (desk.folder / block.file_name).write_text(block.code)


def test_a_block_in_a_list_and_an_indented_block_are_found():
    text = "Text:\n\n    code\n\n- item\n\n  ```shell\n  ls\n  ```\n\n    more of the item\n"
    assert find_indented_code(text) == ["    code"]
    assert [(block.line, block.kind, block.code) for block in read_blocks(ROOT / "x.md", text)] == [(8, "shell", "ls")]


def test_only_blocks_that_import_a_missing_package_are_left_out():
    blocks = [
        Block(ROOT / "x.md", 1, "python", f"import numpy\n{line} x") for line in ("import", "from trackers import")
    ]
    assert not lacks_package(blocks[0])
    assert lacks_package(blocks[1]) is (find_spec("trackers") is None)


def test_commands_are_adapted_but_not_their_names():
    code = (
        "reidhub verify NAME --data-root ~/reid  # a comment\n# all\nX=1 reidhub mirror /srv/reidhub \\\n  'osnet_*'\n"
    )
    verify, mirror = read_commands(code)
    assert adapt(verify) == "reidhub verify osnet_x0_25.market1501 --data-root ~/reid --dry-run"
    assert adapt(mirror) == "X=1 reidhub mirror mirror    'osnet_*'"
    assert adapt("pip install .") is None
