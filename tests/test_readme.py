"""The tables of models in the README and in docs/fastreid.md are the zoo's: the same figures and checkpoints."""

from decimal import Decimal

import pytest
from support.paths import ROOT

from reidhub.models import ARCHITECTURES, build
from reidhub.zoo.manifest import zoo

COLUMNS = 7  # other tables have fewer
ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for page in ("README.md", "docs/fastreid.md")
    for line in (ROOT / page).read_text().splitlines()
    if line.startswith("| `") and line.count("|") == COLUMNS + 1
]


def test_tables_have_a_row_for_each_architecture():
    assert [row[0].strip("`") for row in ROWS] == list(ARCHITECTURES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_row_says_what_the_model_and_the_manifest_say(row):
    title, params, multiply_adds, size, dimensions, distance, tags = row
    name = title.strip("`")
    model, cost = build(name, init=False, device="meta"), zoo().architecture(name).computed
    own = [c for c in zoo().checkpoints if c.model == name]

    assert Decimal(params.split()[0]) == (Decimal(cost.params) / 10**6).quantize(Decimal("0.1"))
    assert Decimal(multiply_adds) == (Decimal(cost.multiply_adds) / 10**9).quantize(Decimal("0.01"))
    assert (size, int(dimensions)) == ("{}x{}".format(*model.input_size), model.embedding_dim)
    assert set(distance.split(", ")) == {c.distance for c in own}
    assert tags.split(", ") == [c.tag for c in own]


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_a_start_page_counts_the_checkpoints_and_architectures_of_the_zoo(page: str):
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    models = {checkpoint.model for checkpoint in zoo().checkpoints}

    assert f"{len(zoo().checkpoints)} published checkpoints of {len(models)} architectures" in text
