"""Makes the pictures in ``docs/images/`` from the demo's drawn people and the zoo: ``python -m tools.make_pictures``.

reidhub and Chromium must be installed. The pictures show pages as the commands write them. The images on them are the
same on every machine; fonts, and the processor that the report names, are those of the machine.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

FOLDER = Path(__file__).parents[1] / "docs" / "images"
QUERIES = ("0163_c1s1_022331_01.jpg", "0161_c1s1_022069_01.jpg")  # show all marks: right, wrong, same camera
SCALE = 2  # pixels of the picture for one pixel of the page: sharp on screens with fine pixels
_COLOURS = 256  # with all colours, the files would be more than twice as large
_CHECKPOINT = "osnet_x0_25.demo_world"
_DEMO = {"REIDHUB_HOME": "demo/cache", "REIDHUB_MANIFEST": "demo/manifest.yaml"}  # what the demo keeps
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


@dataclass(frozen=True)
class Picture:
    """A picture of the top of a page.

    Args:
        name: file name of the picture.
        width: width of the window in pixels of the page.
        height: height of the window.
    """

    name: str
    width: int
    height: int


RANKING = Picture("ranking.png", 660, 722)
REPORT = Picture("report.png", 1180, 1290)  # if both pictures are shown with the same width, they have the same height
EXPLORER = Picture("explorer.png", 1280, 800)


def main() -> None:
    """Run the demo, let reidhub write the pages, and take the pictures."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("these pictures need the browser Chromium: no program chromium or chromium-browser was found")
    with TemporaryDirectory(prefix="reidhub-pictures-") as name:
        folder = Path(name)
        sys.stdout.write("running the demo, which takes one to two minutes\n")
        run_reidhub("demo", "--keep", folder / "demo", cwd=folder)
        take_picture(browser, write_ranking(folder), RANKING)
        take_picture(browser, write_report(folder), REPORT)
        run_reidhub("site", "explorer", cwd=folder)
        take_picture(browser, folder / "explorer" / "index.html", EXPLORER)


def run_reidhub(*arguments: str | Path, cwd: Path, **settings: str) -> None:
    """Run ``reidhub`` with environment variables; if it fails, end this script and print the error."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("REIDHUB_")}
    command = [sys.executable, "-m", "reidhub", *arguments]
    done = subprocess.run(command, cwd=cwd, env={**own, **settings}, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(f"reidhub {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr}")


def write_ranking(folder: Path) -> Path:
    """Rank the gallery for `QUERIES`, and return the path of the contact sheet."""
    (folder / "query").mkdir()
    world = folder / "demo" / "data" / "demo_world"
    for name in QUERIES:
        shutil.copy(world / "query" / name, folder / "query" / name)
    queries = [f"query/{name}" for name in QUERIES]
    page, gallery = folder / "ranking.html", world / "bounding_box_test"
    run_reidhub("rank", _CHECKPOINT, *queries, "--gallery", gallery, "--top", "5", "--html", page, cwd=folder, **_DEMO)
    return page


def write_report(folder: Path) -> Path:
    """Verify the demo's checkpoint, and return the path of the report."""
    run_reidhub("verify", _CHECKPOINT, "--data-root", "demo/data", "--html", "report", cwd=folder, **_DEMO)
    return folder / "report" / "index.html"


def take_picture(browser: str, page: Path, picture: Picture) -> None:
    """Let the browser show a page, and write what the window shows into `FOLDER`."""
    shown = page.parent / picture.name
    window = f"--window-size={picture.width},{picture.height}"
    profile = f"--user-data-dir={page.parent / 'profile'}"
    options = (window, profile, f"--force-device-scale-factor={SCALE}", f"--screenshot={shown}")
    done = subprocess.run(
        [browser, *_FLAGS, *options, page.as_uri()], capture_output=True, encoding="utf-8", check=False, timeout=120
    )
    if not shown.exists():
        sys.exit(f"{browser} took no picture of {page.name}:\n{done.stderr}")
    path = FOLDER / picture.name
    few_colours = Image.open(shown).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    few_colours.save(path, optimize=True)
    sys.stdout.write(f"wrote {path}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
