"""A run on a small copy of CUHK03 with real images, compared with a reference that shares no code with it."""

import io
import json
from pathlib import Path

from PIL import Image
from support.dataset_copies import write_cuhk
from support.verify_runs import NAME, claim, counted, entry, run_here, shots, write_manifest, write_weights

from reidhub.datasets import cuhk03
from reidhub.demo import world
from reidhub.verification.plan import Selection, plan
from reidhub.zoo.manifest import zoo


def write_images(root: Path) -> None:
    """Write a copy of CUHK03 as PNG files, and the same images as ``corridor`` for the referee."""
    entries: dict[str, list[tuple[str, int, int]]] = {}
    pixels = {}
    for split in ("query", "gallery"):
        chosen = [shot for shot in shots(split) if shot.label > 0][:: 1 if split == "query" else 4]
        entries[split] = []
        folder = root / "corridor" / world.FOLDERS[split]
        folder.mkdir(parents=True)
        for place, shot in enumerate(chosen):
            view, image = shot.camera % 2, place + 100 * (split == "gallery")
            name, photo = f"1_{shot.label:03d}_{view + 1}_{image:02d}.png", world.photograph(shot)
            entries[split].append((name, shot.label, view))
            pixels[name] = Image.open(io.BytesIO(photo))
            (folder / f"{shot.label:04d}_c{view + 1}s1_{place:06d}_00.jpg").write_bytes(photo)
    write_cuhk(root / "cuhk03", "detected", entries)
    for name, photo in pixels.items():
        photo.save(root / "cuhk03/images_detected" / name)


def test_the_last_three_score_sets_are_planned() -> None:
    jobs = plan(Selection.of(zoo(), ["*.ms_d_m"]), []).jobs
    assert [(job.dataset, job.score is not None) for job in jobs] == [("cuhk03", True)] * 3


def test_scores_are_those_of_the_referee(tmp_path: Path, monkeypatch, capsys) -> None:
    write_images(tmp_path)
    weights = write_weights(tmp_path, NAME, seed=3)
    tally = counted(weights, tmp_path)
    score = claim(**{metric: f"{value:.1f}" for metric, value in tally.percentages().items()})
    manifest = write_manifest(tmp_path, entry(NAME, score.replace("corridor", "cuhk03")))
    monkeypatch.setenv("REIDHUB_MANIFEST", str(manifest))
    monkeypatch.setattr(cuhk03, "find_published_counts", lambda *_: None)

    done = run_here(monkeypatch, capsys, "verify", NAME, "--data-root", str(tmp_path), "--json")

    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert (result["verdict"], result["copy"]["version"]) == ("reproduced", "detected")
    assert {f["metric"]: f["hits"] for f in result["figures"] if f["hits"] is not None} == {
        f"rank{rank}": hits for rank, hits in tally.hits.items()
    }
    assert tally.queries > 4
