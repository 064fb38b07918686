"""The cache folder's place."""

from pathlib import Path

import pytest

from reidhub.errors import CacheError
from reidhub.files.locations import cache_root


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({"REIDHUB_HOME": "/a", "TORCH_HOME": "/b"}, "/a"),
        ({"TORCH_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/reidhub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/torch/reidhub"),
        ({"HOME": "/d"}, "/d/.cache/torch/reidhub"),
    ],
)
def test_cache_lies_where_the_environment_says(environment, root, monkeypatch):
    for name in ("REIDHUB_HOME", "TORCH_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_root() == Path(root)


def test_user_without_a_home_folder_is_told_which_variable_to_set(monkeypatch):
    for name in ("REIDHUB_HOME", "TORCH_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])  # a user whom the system does not know

    with pytest.raises(CacheError, match="hint: set REIDHUB_HOME"):
        cache_root()


def test_a_cache_in_a_home_folder_that_does_not_exist_is_an_error(monkeypatch):
    monkeypatch.setenv("REIDHUB_HOME", "~no-such-user/x")

    with pytest.raises(
        CacheError, match=r"no home folder is known for the ~ in ~no-such-user/x\nhint: set REIDHUB_HOME"
    ):
        cache_root()
