"""Packages of the distribution; all metadata stands in setup.cfg."""

from setuptools import find_packages, setup

# The manifest lies at the top level of the repository and travels inside the wheel as reidhub/manifest.
setup(
    packages=[*find_packages(include=["reidhub", "reidhub.*"]), "reidhub.manifest"],
    package_dir={"reidhub.manifest": "manifest"},
    package_data={
        "reidhub.manifest": ["*.yaml", "schema.json"],
        "reidhub": ["py.typed", "datasets/*.yaml", "demo/data/*"],
        "reidhub.verification.report": ["templates/*"],
        "reidhub.retrieval.sheets": ["templates/*"],
    },
)
