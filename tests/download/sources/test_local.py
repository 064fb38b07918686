"""Files on this machine."""

import os
import random

import pytest

from reidhub.download.sources import Resume
from reidhub.download.sources.local import open_stream
from reidhub.errors import IntegrityError, SourceError

DATA = b"\x80\x02" + random.Random(3).randbytes(2_500_000)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a folder" / "é.pth"
    path.parent.mkdir()
    path.write_bytes(DATA)
    return path


def read(location, **options):
    with open_stream(str(location), **options) as stream:
        return b"".join(stream.chunks)


def refused(location):
    with pytest.raises(SourceError) as caught:
        read(location)
    assert caught.value.permanent
    return caught.value.message


def test_a_path_and_both_forms_of_url_mean_the_same_file(file):
    url = file.as_uri()
    assert "%20" in url
    for location in (file, url, url.replace("file://", "file://localhost"), url.replace("file://", "file:")):
        assert read(location) == DATA


def test_a_link_to_a_file_is_followed(file, tmp_path):
    link = tmp_path / "link.pth"
    link.symlink_to(file)
    assert read(link) == DATA


def test_a_missing_file_is_told(tmp_path):
    assert refused(tmp_path / "none.pth") == f"cannot read {tmp_path / 'none.pth'}: No such file or directory"
    assert refused(tmp_path / "gone" / "a.pth").endswith(f"there is no folder {tmp_path / 'gone'}")


def test_a_folder_is_no_file(tmp_path):
    assert str(tmp_path) in refused(tmp_path)


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe").endswith("is not a regular file")


def test_a_device_is_no_file():
    assert refused("/dev/zero") == "/dev/zero is not a regular file"


def test_a_url_of_another_machine_is_refused():
    assert "another machine (server)" in refused("file://server/share/a.pth")


def test_a_file_that_shrinks_while_it_is_read_is_an_error(file):
    with open_stream(str(file)) as stream:
        next(stream.chunks)
        os.truncate(file, 1_100_000)
        with pytest.raises(IntegrityError, match="changed while it was read"):
            list(stream.chunks)


def test_reading_goes_on_in_the_same_file(file):
    with open_stream(str(file)) as stream:
        held = next(stream.chunks)
        state = stream.state
    with open_stream(str(file), resume=Resume(len(held), state)) as stream:
        assert stream.offset == len(held)
        assert held + b"".join(stream.chunks) == DATA


def test_reading_starts_over_in_a_file_that_was_changed(file):
    with open_stream(str(file)) as stream:
        state = stream.state
    os.utime(file, (1, 1))
    with open_stream(str(file), resume=Resume(5, state)) as stream:
        assert stream.offset == 0
