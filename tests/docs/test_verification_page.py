"""The Python section of docs/verification.md measures the scores of a checkpoint."""

import re

from support.documentation import Desk
from support.paths import ROOT


def test_the_program_of_the_page_measures_a_checkpoint(desk: Desk):
    text = (ROOT / "docs" / "verification.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.S)
    assert program.count(".expanduser()") == 1
    (desk.folder / "page.py").write_text(
        program.replace(".expanduser()", ".expanduser(), allow_partial=True")  # the test's copy has few images
    )

    done = desk.run(["python", "page.py"])

    score = r"\d+\.\d+"
    wanted = rf"osnet_x0_25\.market1501 market1501 not comparable \[{score}, {score}, {score}, {score}, {score}\]\n"
    assert re.fullmatch(wanted, done.stdout), (done.stdout, done.stderr)
