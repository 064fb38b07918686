"""Packages of the distribution; all metadata stands in setup.cfg."""

from setuptools import find_packages, setup

# The manifest lies at the top level of the repository and travels inside the wheel as reidhub/zoo.
setup(
    packages=[*find_packages(include=["reidhub", "reidhub.*"]), "reidhub.zoo"],
    package_dir={"reidhub.zoo": "manifest"},
    package_data={
        "reidhub.zoo": ["*.yaml"],
        "reidhub": ["py.typed", "datasets/*.yaml", "embedding/*.yaml", "demo/data/*"],
        "reidhub.verification.report": ["page.*"],
    },
)
