"""Packages and description of the distribution; all other metadata stands in setup.cfg."""

import re
from pathlib import Path

from setuptools import find_packages, setup

README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
# A package index does not have the pages and pictures of the repository: only the text of links to them stays.
WITHOUT_PICTURES = re.sub(r"<p>\n<img .*?</p>\n\n", "", README, flags=re.DOTALL)
DESCRIPTION = re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\1", WITHOUT_PICTURES)

# The manifest lies at the top level of the repository and travels inside the wheel as reidhub/manifest.
setup(
    long_description=DESCRIPTION,
    packages=[*find_packages(include=["reidhub", "reidhub.*"]), "reidhub.manifest"],
    package_dir={"reidhub.manifest": "manifest"},
    package_data={
        "reidhub.manifest": ["*.yaml", "schema.json"],
        "reidhub": ["py.typed", "datasets/*.yaml", "demo/data/*"],
        "reidhub.verification.report": ["templates/*"],
        "reidhub.retrieval.sheets": ["templates/*"],
        "reidhub.site": ["templates/*"],
    },
)
