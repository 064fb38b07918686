"""Build the documentation site: ``python -m tools.build_docs build/site``.

The folder of the site is empty at the start, and every page is built again, so that no warning is missed. Warnings are
errors. The addresses outside of the site are listed beside it, in ``outside-links.txt``.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]


def build(site: Path) -> None:
    """Build the pages and the explorer into an empty or missing folder, and check their links.

    Raises:
        CalledProcessError: a page has an error or a warning, or a link is broken; the reason is on stderr.
    """
    with TemporaryDirectory() as doctrees:
        options = ["--fail-on-warning", "--keep-going", "--quiet", "--doctree-dir", doctrees]
        _run("sphinx", *options, "docs", site.absolute())
    _run("reidhub", "site", site.absolute() / "explorer", "--docs", "../index.html")
    _run("tools.check_site_links", site.absolute(), site.absolute().with_name("outside-links.txt"))


def _run(module: str, *arguments: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "REIDHUB_MANIFEST"}
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    try:
        build(Path(sys.argv[1]))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
