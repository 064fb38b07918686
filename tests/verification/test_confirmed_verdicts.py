"""Scores that deviate from the printed ones: others may have measured the same, and the verdict then says both."""

import json
import re
from decimal import Decimal
from fractions import Fraction

import pytest
from support.verify_runs import NAME, SMALL, claim, entry, run_here, write_images, write_manifest, write_weights

from reidhub.errors import ManifestError
from reidhub.verification.measurement import Measurement
from reidhub.verification.verdicts import combine_verdicts, compare_figures, explain_confirmations
from reidhub.zoo.checkpoint import IndependentMeasurement, Score
from reidhub.zoo.manifest import read_manifest, zoo


def measure(rank1: str, mAP: str = "50.0") -> Measurement:
    """Make a measurement of 10,000 queries; the percentages have at most two decimals."""
    hits = int(Decimal(rank1) * 100)
    return Measurement((), (), (), 10_000, (hits,) * 50, float(Fraction(mAP) / 100), 0.1, 512)


def other(who: str, **values: str) -> IndependentMeasurement:
    return IndependentMeasurement("market1501", values, who, "the same protocol", "a page")


@pytest.mark.parametrize(
    ("measured", "others", "verdict", "confirmed_by"),
    [
        ("94.40", ["94.36"], "deviates, confirmed", ["94.36"]),
        ("94.46", ["94.36"], "deviates, confirmed", ["94.36"]),
        ("94.47", ["94.36"], "deviates", []),
        ("94.50", ["94.36", "94.6"], "deviates, confirmed", ["94.6"]),
        ("94.49", ["94"], "deviates, confirmed", ["94"]),
        ("94.50", ["94"], "deviates", []),
        ("94.50", [], "deviates", []),
        ("94.30", ["94.36"], "close", []),
        ("94.20", ["94.6"], "reproduced", []),
        ("93.00", ["94.36", "94.6"], "deviates", []),
    ],
)
def test_a_figure_that_deviates_is_confirmed_by_those_from_whose_figure_it_does_not_deviate(
    measured, others, verdict, confirmed_by
):
    elsewhere = [other(figure, rank1=figure) for figure in others]
    figure = compare_figures(Score("market1501", {"rank1": "94.2"}, "a table"), measure(measured), elsewhere)[0]
    assert (figure.verdict, list(figure.confirmed_by)) == (verdict, confirmed_by)
    assert (figure.reported, figure.measured) == ("94.2", pytest.approx(float(measured)))


def test_each_figure_is_confirmed_on_its_own_and_one_that_nobody_confirms_decides():
    score, elsewhere = Score("market1501", {"rank1": "94.2", "mAP": "82.6"}, "a table"), [other("A", rank1="94.6")]
    figures = compare_figures(score, measure("94.6", mAP="82.9"), elsewhere)
    assert {f.metric: f.verdict for f in figures if f.verdict} == {"rank1": "deviates, confirmed", "mAP": "deviates"}
    assert combine_verdicts(figure.verdict for figure in figures) == "deviates"
    assert explain_confirmations(figures) == "rank1 as measured by A"
    both = compare_figures(score, measure("94.6", mAP="82.9"), [other("A", rank1="94.6", mAP="82.9")])
    assert combine_verdicts(figure.verdict for figure in both) == "deviates, confirmed"
    assert explain_confirmations(both) == "rank1 and mAP as measured by A"


def test_nothing_is_confirmed_if_the_scores_are_not_comparable():
    score = Score("market1501", {"rank1": "94.2"}, "a table")
    figure = compare_figures(score, measure("94.6"), [other("A", rank1="94.6")], comparable=False)[0]
    assert (figure.verdict, figure.confirmed_by) == ("not comparable", ())


def test_a_run_whose_scores_others_confirm_says_both_and_does_not_fail(tmp_path, monkeypatch, capsys):
    write_images(tmp_path)
    write_weights(tmp_path, NAME, seed=3)
    given = ["--data-root", str(tmp_path), "--precision", "exact", "--json"]

    def verify(score: str, others: str, *arguments: str):
        fields = {"input": SMALL, "measured_elsewhere": f"[{others}]"}
        monkeypatch.setenv("REIDHUB_MANIFEST", str(write_manifest(tmp_path, entry(NAME, score, **fields))))
        done = run_here(monkeypatch, capsys, "verify", NAME, *given, *arguments)
        return done.returncode, json.loads(done.stdout)[0]

    def measurement(dataset: str, rank1: float) -> str:
        return f'{{dataset: {dataset}, rank1: "{rank1:.2f}", who: A. Nother, how: same, source: a page}}'

    wrong = claim(rank1="3.3")
    elsewhere = [measurement("market1501", figure / 5) for figure in range(501)]  # one of them agrees
    code, first = verify(wrong, ", ".join([measurement("corridor", 3.3), *elsewhere]))
    truth = first["figures"][0]["measured"]
    assert (code, first["verdict"], first["reason"]) == (1, "deviates", None) and abs(truth - 3.3) > 1

    page, receipt = tmp_path / "page", tmp_path / "receipt.json"
    written = ["--html", str(page), "--no-images", "--receipt", str(receipt)]
    code, result = verify(wrong, measurement("corridor", truth), *written)

    assert (code, result["verdict"]) == (0, "deviates, confirmed")
    assert result["reason"] == "rank1 as measured by A. Nother"
    assert result["figures"][0]["confirmed_by"] == ["A. Nother"]
    assert json.loads(receipt.read_text())["results"] == [result]
    text = re.sub(r"<[^>]*>", "", (page / "index.html").read_text())
    assert "▲ deviates, confirmed: rank1 as measured by A. Nother" in text


def test_the_zoo_knows_who_measured_its_checkpoints_by_the_same_protocol():
    found = {c.name: [(m.dataset, m.who) for m in c.measured_elsewhere] for c in zoo().checkpoints}
    assert {name: len(who) for name, who in found.items() if who} == {
        "osnet_x1_0.market1501": 2,
        "osnet_x1_0.msmt17": 1,
        "osnet_x1_0.msmt17_combineall": 1,
        "osnet_x1_0.ms_d_c": 1,
        "osnet_ain_x1_0.msmt17_combineall": 2,
        "osnet_ain_x1_0.ms_d_c": 1,
    }
    for checkpoint in zoo().checkpoints:
        for one in checkpoint.measured_elsewhere:
            (score,) = (score for score in checkpoint.scores if score.dataset == one.dataset)
            assert all(abs(Decimal(one.values[m]) - score.decimal(m)) < 1 for m in ("rank1", "mAP"))
            assert checkpoint.distance in one.how.lower()
    ours = zoo().by_name["osnet_x1_0.market1501"].measured_elsewhere
    assert [(one.values["rank1"], one.values["mAP"]) for one in ours] == [("94.36", "82.55"), ("94.6", "82.9")]


def test_show_and_list_tell_what_others_measured(monkeypatch, capsys):
    listed = json.loads(run_here(monkeypatch, capsys, "list", "osnet_x1_0.msmt17", "--json").stdout)
    (one,) = listed[0]["measured_elsewhere"]
    assert (one["dataset"], one["rank1"], one["rank5"], one["mAP"]) == ("msmt17", "75.0", None, "43.7")
    assert one.keys() >= {"who", "how", "source"}
    shown = run_here(monkeypatch, capsys, "show", "osnet_x1_0.msmt17").stdout
    assert f"by others   msmt17: rank1 75.0, mAP 43.7; {one['who']}; {one['how']}; {one['source']}" in shown


def test_an_independent_measurement_needs_its_origin_and_a_figure(tmp_path):
    file = tmp_path / "own.yaml"
    for fields, message in (
        ('{dataset: a, rank1: "1.0"}', "field 'who' is missing: who measured.*\n.*'how'.*\n.*'source'"),
        ("{dataset: a, who: b, how: c, source: d}", "an independent measurement has at least one of rank1"),
        ("{dataset: a, who: b, how: c, source: d, rank1: 94.2}", r"expected a text \(in quotes"),
    ):
        file.write_text("checkpoints:\n" + entry(NAME, "", measured_elsewhere=f"[{fields}]"))
        with pytest.raises(ManifestError, match=message):
            read_manifest([file])
