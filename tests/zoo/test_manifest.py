"""The zoo's manifest compared with the published tables, and the strictness of its reader."""

import csv
import os
import re
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from support.paths import TESTS, shared

from reidhub.errors import ManifestError, UnknownCheckpointError
from reidhub.files.digest import Digest
from reidhub.models import build
from reidhub.zoo import manifest
from reidhub.zoo.artifact import GRADES
from reidhub.zoo.checkpoint import METRICS, Checkpoint, InputSpec
from reidhub.zoo.manifest import folder, read_manifest, zoo

FACTS = list(csv.DictReader((TESTS / "data" / "zoo.csv").read_text(encoding="utf-8").splitlines()))

FASTREID = list(csv.DictReader((TESTS / "data" / "fastreid_zoo.csv").read_text(encoding="utf-8").splitlines()))
TRACKING = {f"osnet_x1_0.{tag}" for tag in ("mot17", "sportsmot", "dancetrack", "soccernet")} | {
    "fastreid_sbs_s50_2021.mot17"
}

INPUT = "input: {height: 64, width: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], interpolation: bilinear}"
ENTRY = """\
checkpoints:
  - name: tiny.market1501
    model: tiny
    trained_on: [market1501]
    num_classes: 751
    file:
      sha256: {digest}
      evidence: made for this test
    sources:
      - local: tiny.pth
    input: {{height: 256, width: 128, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], interpolation: bilinear}}
    distance: euclidean
    params_m: "0.1"
    gflops: null
    loss: softmax
    transforms: [random_flip]
    scores:
      - dataset: market1501
        rank1: "87.0"
        mAP: "70.4"
        source: this test
    licence: MIT
""".format(digest="ab" * 32)


def by_name() -> dict[str, Checkpoint]:
    return {checkpoint.name: checkpoint for checkpoint in zoo().checkpoints}


def links(checkpoint: Checkpoint, kind: str) -> list[str]:
    return [source.location for source in checkpoint.artifact.sources if source.kind == kind]


def figures(checkpoint: Checkpoint) -> str:
    return "; ".join(
        " ".join([s.dataset, *(f"{m}={s.values[m]}" for m in METRICS if m in s.values)]) for s in checkpoint.scores
    )


def test_the_manifest_holds_the_112_published_checkpoints_and_no_other():
    assert (len(FACTS), len(FASTREID), len(TRACKING)) == (66, 41, 5)
    assert sorted(by_name()) == sorted([*(row["name"] for row in FACTS + FASTREID), *TRACKING])


@pytest.mark.parametrize("row", FACTS, ids=lambda row: row["name"])
def test_an_entry_says_what_the_published_tables_say(row):
    checkpoint = by_name()[row["name"]]
    artifact = checkpoint.artifact
    assert " ".join(checkpoint.trained_on) == row["trained_on"]
    assert str(checkpoint.spec.num_classes or "") == row["num_classes"]
    assert links(checkpoint, "mega") == [link for link in [row["mega"]] if link]
    assert [link for link in links(checkpoint, "gdrive") if row["gdrive"] in link] == links(checkpoint, "gdrive") != []
    assert (artifact.digest.hex if artifact.digest else "") == row["sha256"]
    assert str(artifact.size or "") == row["size"]
    assert f"{checkpoint.input.height}x{checkpoint.input.width}" == row["input"]
    assert checkpoint.distance == row["distance"] or "imagenet" in checkpoint.trained_on
    assert (checkpoint.params_m or "", checkpoint.gflops or "") == (row["params_m"], row["gflops"])
    assert checkpoint.loss == row["loss"] or "imagenet" in checkpoint.trained_on
    assert " ".join(checkpoint.transforms) == row["transforms"]
    assert checkpoint.from_scratch == bool(row["from_scratch"])
    assert figures(checkpoint) == row["scores"]


@pytest.mark.parametrize("row", FASTREID, ids=lambda row: row["name"])
def test_an_entry_of_fast_reid_says_what_its_published_table_says(row):
    checkpoint = by_name()[row["name"]]
    artifact = checkpoint.artifact
    assert [(source.kind, source.location) for source in artifact.sources] == [("https", row["address"])]
    assert artifact.original_file == row["address"].rpartition("/")[2]
    assert (" ".join(checkpoint.trained_on), str(checkpoint.spec.num_classes)) == (
        row["trained_on"],
        row["num_classes"],
    )
    assert checkpoint.layout == next(one.layout for one in zoo().layouts if one.name == row["layout"])
    assert checkpoint.model in next(one.architectures for one in zoo().layouts if one.name == row["layout"])
    assert f"{checkpoint.input.height}x{checkpoint.input.width}" == row["input"]
    assert (checkpoint.input.interpolation, checkpoint.distance) == ("bicubic", "cosine")
    assert (artifact.digest.hex if artifact.digest else "", str(artifact.size or "")) == (row["sha256"], row["size"])
    assert figures(checkpoint) == row["scores"]
    assert {checkpoint.find_domain(score) for score in checkpoint.scores} == {"same"}
    assert "Apache-2.0" in checkpoint.licence and "research" in checkpoint.licence
    assert any(re.match("Certain|Nearly certain|Likely|Inferred", notice) for notice in checkpoint.notices)


@pytest.mark.parametrize("name", sorted(TRACKING))
def test_an_encoder_for_tracking_says_that_no_scores_are_published_and_what_is_not_confirmed(name):
    checkpoint = by_name()[name]
    assert checkpoint.scores == ()
    assert checkpoint.artifact.pinned == (name == "fastreid_sbs_s50_2021.mot17")
    texts = " ".join(checkpoint.notices)
    assert "scores" in texts and re.search("not confirmed|nothing here confirms", texts)


def test_the_pixels_of_a_layout_are_those_of_the_images_of_its_checkpoints():
    pixels = [checkpoint for checkpoint in zoo().checkpoints if checkpoint.layout.constants]
    assert len(pixels) == len(FASTREID)
    for checkpoint in pixels:
        for name, numbers in (("pixel_mean", checkpoint.input.mean), ("pixel_std", checkpoint.input.std)):
            assert checkpoint.layout.constants[name] == pytest.approx([255 * number for number in numbers], rel=1e-9)


AUTHORS = ("https://github.com/JDAI-CV/fast-reid/releases/", "https://storage.googleapis.com/com-roboflow-marketing/")


def test_sources_stand_in_order_of_trust_and_others_copies_only_behind_a_sha256():
    for checkpoint in zoo().checkpoints:
        sources = checkpoint.artifact.sources
        kinds = [source.kind for source in sources]
        assert kinds == sorted(kinds, key=["mega", "gdrive", "https"].index)
        assert checkpoint.artifact.pinned or all(
            source.location.startswith(AUTHORS) for source in sources if source.kind == "https"
        )


def test_what_has_neither_sha256_nor_mac_comes_from_its_author_alone():
    bare = [c for c in zoo().checkpoints if c.artifact.checked_by == "nothing"]
    assert len(bare) == 14 + 40 + 4
    for checkpoint in bare:
        (source,) = checkpoint.artifact.sources
        assert source.kind == "gdrive" or source.location.startswith(AUTHORS)


def test_every_sha256_of_the_zoo_has_a_grade_and_a_grade_stands_for_something():
    for checkpoint in zoo().checkpoints:
        artifact = checkpoint.artifact
        assert artifact.grade in GRADES or not artifact.pinned, checkpoint.name
        assert artifact.grade is None or artifact.digest or artifact.size, checkpoint.name
    grades = Counter(c.artifact.grade for c in zoo().checkpoints if c.artifact.pinned)
    assert grades == {"proven": 5, "strong": 12, "single": 3}


def test_the_bytes_of_every_proven_file_are_those_at_hand(real_weights):
    proven = {c.artifact.digest: c.artifact.size for c in zoo().checkpoints if c.artifact.grade == "proven"}
    assert {Digest.of_file(file): file.stat().st_size for file in real_weights.iterdir()} == proven


def test_published_and_computed_sizes_of_a_model_differ_by_the_rows_of_its_classifier_alone():
    others = {"osnet_ain_x1_0.ms_d_c", "resnet50.msmt17_combineall"}  # files of another format
    rest: dict[str, list[set[int]]] = {}  # model -> for each file, its possible sizes without the classifier
    for checkpoint in (by_name()[row["name"]] for row in FACTS):
        artifact, classes = checkpoint.artifact, checkpoint.spec.num_classes
        sizes = (artifact.size,) if artifact.size else artifact.expected_size
        if sizes and checkpoint.name not in others:
            row = 4 * ((2048 if checkpoint.model == "resnet50" else 512) + 1)
            rest.setdefault(checkpoint.model, []).append({size - row * classes for size in sizes})
    assert sum(map(len, rest.values())) == 34
    assert {model: files for model, files in rest.items() if any(sizes != files[0] for sizes in files)} == {}


def test_everything_that_touches_the_withdrawn_dataset_says_so():
    for checkpoint in zoo().checkpoints:
        datasets = {*checkpoint.trained_on, *(score.dataset for score in checkpoint.scores)}
        assert ("dukemtmcreid" in datasets) == any("withdrawn" in notice for notice in checkpoint.notices)


def test_there_are_105_re_id_score_sets_and_every_figure_keeps_its_digits():
    sets = [score for c in zoo().checkpoints for score in c.scores if score.dataset != "imagenet"]
    assert len(sets) == 60 + 45
    for score in sets:
        for metric, text in score.values.items():
            assert re.fullmatch(r"\d{2}\.\d", text) or text == "80.13"  # fast-reid's table prints one more digit
            assert str(score.decimal(metric)) == text
    assert by_name()["mobilenetv2_x1_4.market1501"].scores[0].decimal("rank1") == Decimal("87.0")


def test_a_dataset_whose_name_only_starts_like_another_one_is_another_domain():
    (score,) = by_name()["fastreid_bot_gem_r50_ibn.vehicleid"].scores[:1]
    trained = replace(by_name()["osnet_x1_0.market1501"], trained_on=("vehicle",))

    assert score.dataset.startswith("vehicleid_") and trained.find_domain(score) == "cross"
    assert replace(trained, trained_on=("vehicleid",)).find_domain(score) == "same"


def test_a_combineall_checkpoint_is_not_scored_on_its_own_dataset():
    combined = [c for c in zoo().checkpoints if c.combineall]
    assert len(combined) == 7
    for checkpoint in combined:
        assert not {score.dataset for score in checkpoint.scores} & set(checkpoint.trained_on)


def test_every_model_is_described_and_every_description_is_used():
    assert {a.name for a in zoo().architectures} == {c.model for c in zoo().checkpoints}
    assert len(zoo().architectures) == 31
    starts = {a.name: a.starts_from for a in zoo().architectures}
    assert starts["resnet50"] == starts["resnet50_fc512"] == "torchvision:ResNet50_Weights.IMAGENET1K_V1"
    assert starts["hacnn"] == "scratch"
    others = {name: start for name, start in starts.items() if not name.startswith(("resnet50", "hacnn", "fastreid_"))}
    assert {start for name, start in starts.items() if name.startswith("fastreid_")} == {None}
    assert all(start == f"{name}.imagenet" and start in by_name() for name, start in others.items())


def test_the_default_of_every_model_is_trained_on_msmt17_or_there_is_no_such_checkpoint():
    defaults = {a.name: a.default for a in zoo().architectures}
    imagenet_only = {"shufflenet", "osnet_ain_x0_75", "osnet_ain_x0_5", "osnet_ain_x0_25"}
    others = {
        "fastreid_mgn_r50_ibn": "market1501",
        "fastreid_bot_gem_r50_ibn": "vehicleid",
        "fastreid_sbs_s50_2021": "mot17",
    }
    assert {c.model for c in zoo().checkpoints} - {c.model for c in zoo().checkpoints if c.for_reid} == imagenet_only
    for name, default in defaults.items():
        tag = "imagenet" if name in imagenet_only else others.get(name, "msmt17")
        assert default == f"{name}.{tag}" + ("_combineall" if name in ("osnet_ain_x1_0", "osnet_ibn_x1_0") else "")
        assert [c.name for c in zoo().find(name)] == [default]


def seed_rows() -> dict[str, set[str]]:
    """Every link of the seed document with the texts of its row."""
    rows: dict[str, set[str]] = {}
    for line in shared("seed/MODEL_ZOO.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for cell in cells:
            for printed, link in re.findall(r"\[([^]]+)\]\((https://[^)]+)\)", cell):
                rows[link] = {*cells, printed}
    return rows


def test_every_row_of_the_seed_document_is_in_the_manifest_as_it_stands():
    rows = seed_rows()
    assert len(rows) == 51
    known = {source.location: c for c in zoo().checkpoints for source in c.artifact.sources}
    for link, cells in rows.items():
        checkpoint = known[link]
        assert {checkpoint.model, f"{checkpoint.model}<sup>*</sup>"} & cells
        assert checkpoint.artifact.sources[0].location == link
        if checkpoint.trained_on == ("imagenet",):
            continue
        assert {checkpoint.params_m, checkpoint.gflops, checkpoint.loss, f"`{checkpoint.distance}`"} <= cells
        assert f"({checkpoint.input.height}, {checkpoint.input.width})" in cells
        assert ", ".join(f"`{t}`" for t in checkpoint.transforms) in cells
        for score in checkpoint.scores:
            both = f"{score.values['rank1']} ({score.values['mAP']})"
            assert both in cells or set(score.values.values()) <= cells


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "own.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_an_own_manifest_is_read_with_local_files_found_beside_it(tmp_path):
    (checkpoint,) = read_manifest([write(tmp_path, ENTRY)]).checkpoints
    assert checkpoint.artifact.sources[0].location == (tmp_path / "tiny.pth").as_uri()
    assert checkpoint.artifact.digest == Digest("ab" * 32)
    assert checkpoint.scores[0].values == {"rank1": "87.0", "mAP": "70.4"}
    assert checkpoint.manifest.endswith("own.yaml:2")


@pytest.mark.parametrize(("text", "read"), [("7", (7,)), ("[7, 8]", (7, 8))])
def test_a_computed_size_is_one_number_or_several(text, read, tmp_path):
    own = ENTRY.replace("evidence:", f"grade: single\n      expected_size: {text}\n      evidence:")
    (checkpoint,) = read_manifest([write(tmp_path, own)]).checkpoints
    assert (checkpoint.artifact.grade, checkpoint.artifact.expected_size) == ("single", read)


BROKEN = {
    "an unknown field": (
        "    loss: softmax",
        "    los: softmax",
        ":15: unknown field 'los'; did you mean 'loss': training loss?",
    ),
    "a field that resembles none": (
        "    loss: softmax",
        "    xyz: 1",
        ":15: unknown field 'xyz'; a checkpoint has name, model, file",
    ),
    "a missing field": ("    model: tiny\n", "", ":2: field 'model' is missing: the architecture, such as"),
    "a field given twice": ("    loss: softmax", "    loss: softmax\n    loss: softmax", ":16: field 'loss'"),
    "a figure that is a number": ('rank1: "87.0"', "rank1: 87.0", ":19: expected a text (in quotes"),
    "a figure with a sign": ('rank1: "87.0"', 'rank1: "+87.0"', ":19: '+87.0' is not a decimal figure"),
    "a figure over 100": ('rank1: "87.0"', 'rank1: "187.0"', ":19: '187.0' is above 100"),
    "a text for a number": ("num_classes: 751", "num_classes: many", ":5: expected a whole number"),
    "a boolean for a number": ("num_classes: 751", "num_classes: true", ":5: expected a whole number"),
    "a number of 5,000 digits": ("num_classes: 751", "num_classes: 1" + "0" * 5000, ":5: expected a whole number"),
    "an octal number": ("num_classes: 751", "num_classes: 0o17", ":5: expected a whole number"),
    "a digest of another kind": ("sha256: " + "ab" * 32, "sha256: " + "ab" * 16, ":7: not a sha256"),
    "a digest without evidence": ("      evidence: made for this test\n", "", ":7: sha256 without evidence"),
    "a grade of another name": ("evidence: made", "grade: sure\n      evidence: made", ":8: expected one of proven"),
    "a grade of nothing": (
        f"sha256: {'ab' * 32}\n      evidence",
        "grade: single\n      evidence",
        ":7: grade without sha256 or size",
    ),
    "a computed size beside a size": (
        "evidence: made",
        "size: 7\n      expected_size: [7, 8]\n      evidence: made",
        ":9: expected_size beside size",
    ),
    "a computed size without evidence": (
        f"sha256: {'ab' * 32}\n      evidence: made for this test",
        "expected_size: 7",
        ":7: expected_size without evidence",
    ),
    "a computed size that is a text": (
        "evidence: made",
        "expected_size: [x]\n      evidence: made",
        ":8: expected a whole number",
    ),
    "an empty list of computed sizes": (
        "evidence: made",
        "expected_size: []\n      evidence: made",
        ":8: expected_size is empty",
    ),
    "an unknown source kind": ("- local: tiny.pth", "- ftp: tiny.pth", ":10: expected one of mega, gdrive"),
    "a source with two kinds": ("- local: tiny.pth", "- {local: a.pth, mega: b}", ":10: a source has one field"),
    "a Mega link cut short": (
        "- local: tiny.pth",
        '- mega: "https://mega.nz/#!YK5GRARL!F90"',
        "not a link of kind mega",
    ),
    "a plain http link": ("- local: tiny.pth", '- https: "http://example.com/x"', "not a link of kind https"),
    "a link with a password": ("- local: tiny.pth", '- https: "https://me:pw@example.com/x"', "not a link of kind"),
    "a link that is no address": ("- local: tiny.pth", '- https: "https://[::1/x"', "not a link of kind https"),
    "a Drive link without an id": ("- local: tiny.pth", '- gdrive: "https://drive.google.com/uc"', "kind gdrive"),
    "the same source twice": ("- local: tiny.pth", "- local: tiny.pth\n      - local: tiny.pth", "given twice"),
    "no source": ("sources:\n      - local: tiny.pth", "sources: []", ":9: a checkpoint has at least one source"),
    "a name of another model": ("name: tiny.market1501", "name: huge.market1501", ":2: name 'huge.market1501'"),
    "a name with a slash": ("name: tiny.market1501", "name: tiny./etc/passwd", ":2: name"),
    "trained on nothing": ("trained_on: [market1501]", "trained_on: []", ":4: trained_on is empty"),
    "two values for three channels": ("mean: [0.485, 0.456, 0.406]", "mean: [0.485, 0.456]", "three numbers"),
    "another distance": ("distance: euclidean", "distance: manhattan", ":12: expected one of euclidean, cosine"),
    "a mapping for a list": ("transforms: [random_flip]", "transforms: {random_flip: 1}", ":16: transforms is a list"),
    "a list for a mapping": ("      sha256: " + "ab" * 32, "      - sha256", "not YAML"),
    "a name defined twice": (
        "    licence: MIT\n",
        "    licence: MIT\n" + ENTRY.partition("\n")[2],
        "already defined in",
    ),
    "an anchor that does not exist": ("input: {", "input: *nowhere # {", ":11: not YAML: found undefined alias"),
    "a Python object": ("loss: softmax", "loss: !!python/object/apply:os.system ['true']", ":15: expected a text"),
    "an empty file": (ENTRY, "", ":1: the file is empty"),
    "no checkpoints": (ENTRY, "architectures: []\n", ":1: field 'checkpoints' is missing"),
    "a file name with a folder": ("      sha256:", "      original: ../x.pth\n      sha256:", "not a plain file name"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_manifest_is_an_error_with_file_and_line(case, tmp_path):
    old, new, message = BROKEN[case]
    assert old in ENTRY
    file = write(tmp_path, ENTRY.replace(old, new, 1))
    with pytest.raises(ManifestError) as error:
        read_manifest([file])
    assert str(error.value).startswith(f"{file}:")
    assert message in str(error.value)


def test_a_name_of_the_zoo_cannot_be_taken_by_an_own_manifest(tmp_path):
    file = write(tmp_path, ENTRY.replace("tiny", "resnet50"))
    with pytest.raises(ManifestError, match=r"own\.yaml:2: resnet50\.market1501 is already defined in .*resnet"):
        read_manifest([*sorted(folder().glob("*.yaml")), file])


def without_input(tmp_path: Path, model: str) -> Path:
    return write(
        tmp_path,
        re.sub("    input: .*\n", "", ENTRY).replace("tiny.market1501", f"{model}.own").replace("tiny\n", f"{model}\n"),
    )


def test_an_entry_without_input_gets_that_of_its_architecture_from_any_file(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDHUB_MANIFEST", str(without_input(tmp_path, "hacnn")))
    for _ in ("parsed", "from the parsed copy"):
        assert zoo().find("hacnn.own")[0].input == zoo().architecture("hacnn").input
        assert (zoo().find("hacnn.own")[0].input.height, zoo().find("hacnn.own")[0].input.width) == (160, 64)
        manifest._zoo.cache_clear()


def test_an_entry_with_an_input_of_its_own_keeps_it(tmp_path, monkeypatch):
    own = ENTRY.replace("tiny", "hacnn").replace(".market1501", ".own").replace("mean: [0.485", "mean: [0.25")
    monkeypatch.setenv("REIDHUB_MANIFEST", str(write(tmp_path, own)))
    assert zoo().find("hacnn.own")[0].input == InputSpec(
        256, 128, (0.25, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear"
    )


def test_images_are_resized_bilinear_or_bicubic_and_in_no_other_way(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDHUB_MANIFEST", str(write(tmp_path, ENTRY.replace("bilinear", "bicubic"))))
    for _ in ("parsed", "from the parsed copy"):
        assert zoo().find("tiny")[0].input.interpolation == "bicubic"
        manifest._zoo.cache_clear()

    monkeypatch.setenv("REIDHUB_MANIFEST", str(write(tmp_path, ENTRY.replace("bilinear", "lanczos"))))
    with pytest.raises(ManifestError, match="expected one of bilinear, bicubic, got 'lanczos'"):
        zoo()


def test_an_entry_without_input_of_a_model_that_nothing_describes_is_an_error_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDHUB_MANIFEST", str(without_input(tmp_path, "osnet_x1_1")))
    message = r"own\.yaml:2: field 'input' is missing, and no manifest file describes the architecture 'osnet_x1_1'; "
    with pytest.raises(ManifestError, match=message):
        zoo()


def test_an_architecture_of_the_zoo_says_how_its_images_are_prepared_and_no_checkpoint_of_the_zoo_repeats_it():
    sizes = {a.name: (a.input.height, a.input.width) for a in zoo().architectures}
    assert sizes == {name: build(name, 2, device="meta").input_size for name in sizes}
    for file in folder().glob("*.yaml"):
        described, _, entries = file.read_text(encoding="utf-8").partition("\ncheckpoints:")
        assert "\narchitectures:" in described or "\n  - name: " not in entries, file
        assert entries.count("input:") == (file.name == "fastreid_sbs.yaml"), file  # vehicles have other images


def test_the_environment_adds_manifests_to_the_zoo(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDHUB_MANIFEST", os.pathsep.join([str(write(tmp_path, ENTRY)), ""]))
    assert len(zoo().checkpoints) == 113
    assert zoo().find("tiny")[0].name == "tiny.market1501"


def entries_of(tmp_path: Path, *tags: str, default: str | None = None) -> Path:
    """A manifest of checkpoints of one model; those with ``imagenet`` in their tag were trained on ImageNet."""
    entry = ENTRY.partition("\n")[2]
    texts = (
        entry.replace("tiny.market1501", f"tiny.{tag}").replace(
            "[market1501]", "[imagenet]" if "imagenet" in tag else "[msmt17]"
        )
        for tag in tags
    )
    described = f"{{name: tiny, paper: none, starts_from: scratch, {INPUT}, default: {default}}}" if default else ""
    return write(tmp_path, f"architectures: [{described}]\ncheckpoints:\n{''.join(texts)}")


@pytest.mark.parametrize(
    ("tags", "default", "meant"),
    [
        (["imagenet", "market1501", "own"], "own", "own"),
        (["imagenet", "market1501"], "imagenet", "imagenet"),
        (["imagenet", "own"], None, "own"),
        (["imagenet"], None, "imagenet"),
    ],
)
def test_a_model_means_its_named_default_else_its_only_re_id_checkpoint_else_its_only_one(
    tags, default, meant, tmp_path
):
    zoo = read_manifest([entries_of(tmp_path, *tags, default=default and f"tiny.{default}")])
    assert [checkpoint.name for checkpoint in zoo.find("tiny")] == [f"tiny.{meant}"]


@pytest.mark.parametrize("tags", [["imagenet", "one", "two"], ["imagenet", "imagenet_again"]])
def test_a_model_with_several_checkpoints_and_no_default_is_an_error_that_lists_them(tags, tmp_path):
    zoo = read_manifest([entries_of(tmp_path, *tags)])
    listed = ", ".join(f"tiny.{tag}" for tag in tags[-2:])
    with pytest.raises(UnknownCheckpointError, match=rf"tiny has 2 .* no default\nhint: choose one of {listed}$"):
        zoo.find("tiny")


@pytest.mark.parametrize("default", ["tiny.gone", "hacnn.msmt17", "tiny"])
def test_a_default_that_is_no_checkpoint_of_the_model_is_an_error_with_file_and_line(default, tmp_path):
    file = entries_of(tmp_path, "own", default=default)
    with pytest.raises(ManifestError, match=rf"own\.yaml:1: default '{default}' is no checkpoint of tiny"):
        read_manifest([*sorted(folder().glob("*.yaml")), file])


def test_a_manifest_that_is_not_there_is_an_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDHUB_MANIFEST", str(tmp_path / "gone.yaml"))
    with pytest.raises(ManifestError, match=r"gone\.yaml: cannot be read"):
        zoo()


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("osnet_ain_x1_0", ["osnet_ain_x1_0.msmt17_combineall"]),
        ("resnet50", ["resnet50.msmt17"]),
        ("shufflenet", ["shufflenet.imagenet"]),
        ("osnet_x1_0.msmt17", ["osnet_x1_0.msmt17"]),
        ("mlfn.*", ["mlfn.imagenet", "mlfn.market1501", "mlfn.dukemtmcreid", "mlfn.msmt17"]),
        ("resnet50*.msmt17", ["resnet50.msmt17", "resnet50_fc512.msmt17"]),
    ],
)
def test_a_selector_means_what_its_form_says(selector, names):
    assert [checkpoint.name for checkpoint in zoo().find(selector)] == names


@pytest.mark.parametrize("selector", ["osnet_x1.0", "osnet_x1_0.market", "*.nowhere", "", "OSNET_X1_0"])
def test_a_selector_without_a_match_is_an_error_and_never_an_empty_list(selector):
    with pytest.raises(UnknownCheckpointError, match="no checkpoint is called"):
        zoo().find(selector)


def test_an_unknown_name_brings_the_names_that_look_like_it():
    with pytest.raises(UnknownCheckpointError, match=r"did you mean .*osnet_x1_0\.market1501"):
        zoo().find("osnet_x1_0.market")


def test_an_unknown_tag_of_a_known_model_brings_what_there_is_of_it():
    with pytest.raises(UnknownCheckpointError, match=r"there is osnet_ain_x1_0\.msmt17_combineall$"):
        zoo().find("osnet_ain_x1_0.msmt17")
    with pytest.raises(UnknownCheckpointError, match=r"there is hacnn\.market1501, .*, hacnn\.msmt17$"):
        zoo().find("hacnn.nosuch")


@pytest.mark.parametrize(
    ("selector", "globs"),
    [
        ("market1501", "'*.market1501'"),
        ("DukeMTMC-reID", "'*.dukemtmcreid'"),
        ("market", "'*.market1501'"),
        ("MSMT17*", "'*.msmt17' or '*.msmt17_combineall'"),
    ],
)
def test_a_dataset_in_the_place_of_a_name_gets_a_hint_with_its_glob(selector, globs):
    with pytest.raises(UnknownCheckpointError) as unknown:
        zoo().find(selector)
    assert unknown.value.hint == f"to find checkpoints by their training set, write {globs}"


def test_a_dataset_finds_the_tag_else_the_only_checkpoint_trained_on_it_alone():
    assert zoo().find_trained("osnet_x1_0", "msmt17").name == "osnet_x1_0.msmt17"
    assert zoo().find_trained("osnet_ain_x1_0", "msmt17").name == "osnet_ain_x1_0.msmt17_combineall"
    assert zoo().find_trained("osnet_x1_0", "ms_d_c").name == "osnet_x1_0.ms_d_c"


def test_a_dataset_without_a_single_checkpoint_lists_the_candidates():
    with pytest.raises(UnknownCheckpointError, match=r"shufflenet has no .*\n.*shufflenet\.imagenet"):
        zoo().find_trained("shufflenet", "msmt17")
    with pytest.raises(UnknownCheckpointError, match="no model is called 'osnetx1_0'"):
        zoo().find_trained("osnetx1_0", "msmt17")
    with pytest.raises(UnknownCheckpointError, match=r"name of a checkpoint, not of a model\nhint: leave the dataset"):
        zoo().find_trained("osnet_x1_0.msmt17", "msmt17")
