"""The tables of docs/choosing.md are the manifest's, and its recommendations follow from them."""

from decimal import Decimal

from reidhub.zoo.manifest import zoo
from tools.write_choosing_tables import PAGE, TABLES, write_tables


def read_rows(name: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TABLES[name]().splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


def mean_precision(cell: str) -> Decimal:
    return Decimal(cell.partition("(")[2].rstrip(")"))


def test_the_tables_of_the_page_are_made_from_the_manifest_of_today() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("<!-- table: ") == len(TABLES)
    assert text == write_tables(text), "run: python -m tools.write_choosing_tables"


def test_a_stale_figure_and_a_missing_table_are_written_anew() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert write_tables(text.replace("70.1 (43.3)", "70.1 (99.9)")) == text
    assert write_tables("\n".join(line for line in text.split("\n") if not line.startswith("| osnet"))) == text


def test_trackers_see_only_cross_domain_scores_and_papers_only_same_domain_scores() -> None:
    published = {
        (checkpoint.name, score.dataset): f"{score.values['rank1']} ({score.values.get('mAP')})"
        for checkpoint in zoo().checkpoints
        for score in checkpoint.scores
        if checkpoint.for_reid
    }
    for name, (*_, market, duke) in read_rows("trackers").items():
        (checkpoint,) = zoo().find(name)
        assert market in ("", published.get((name, "market1501"))) and duke in (
            "",
            published.get((name, "dukemtmcreid")),
        )
        assert not market or "market1501" not in checkpoint.trained_on
        assert not duke or "dukemtmcreid" not in checkpoint.trained_on
    for model, (*_, market, duke, msmt) in read_rows("papers").items():
        tags = ("market1501", "dukemtmcreid", "msmt17")
        assert [published.get((f"{model}.{tag}", tag), "") for tag in tags] == [market, duke, msmt]


def test_the_recommended_models_are_the_best_of_the_tables() -> None:
    both = {name: row for name, row in read_rows("trackers").items() if row[-1] and row[-2]}
    for column in (-1, -2):
        best = max(both, key=lambda name: mean_precision(both[name][column]))
        assert best == zoo().find("osnet_ain_x1_0")[0].name
    papers = {model: row for model, row in read_rows("papers").items() if row[-1]}
    light = {model: row for model, row in papers.items() if Decimal(row[1]) < 3}
    for column in (-1, -2, -3):
        assert max(papers, key=lambda model: mean_precision(papers[model][column])) == "fastreid_sbs_r101_ibn"
        assert max(light, key=lambda model: mean_precision(light[model][column])) == "osnet_x1_0"
    assert 9 < Decimal(papers["fastreid_sbs_r101_ibn"][1]) / Decimal(papers["osnet_x1_0"][1]) < 11
    edge = read_rows("edge")
    assert next(iter(edge)) == "osnet_x0_25"
    assert 3 < Decimal(edge["osnet_x0_5"][1]) / Decimal(edge["osnet_x0_25"][1]) < 4
    gains = [
        mean_precision(edge["osnet_x0_5"][column]) - mean_precision(edge["osnet_x0_25"][column]) for column in (3, 4)
    ]
    assert all(Decimal("3.5") < gain < 5 for gain in gains)
