"""Writes the files of the site into a folder."""

import json
from pathlib import Path

from reidhub.errors import UsageError
from reidhub.files.atomic import explain_write_errors, remove_leftovers, write_folder, write_text
from reidhub.files.output_folder import check_free
from reidhub.site.content import Content
from reidhub.site.index_json import FILE_NAME, find_earlier_pages, locate_page, make_index
from reidhub.site.pages import render_checkpoint, render_index

START = "index.html"


def write_site(content: Content, folder: Path, *, force: bool = False) -> Path:
    """Write the site; a new folder is written completely or not at all.

    An earlier site in the folder is replaced, and its pages of checkpoints that no longer exist are removed. All other
    files stay.

    Args:
        content: what the site shows.
        folder: the folder to write; it is empty, has an earlier site, or does not exist.
        force: write into a folder that has other files; files of the same names are replaced.

    Returns:
        The path of the start page.

    Raises:
        UsageError: ``folder`` is a file, or has files that are no earlier site and ``force`` is not set; or the files
            cannot be written.
        DiskFullError: the disk has no room.
    """
    earlier = find_earlier_pages(folder)
    check_free(folder, force=force or earlier is not None)
    files = _make_files(content)
    with explain_write_errors(f"write the site into {folder}", UsageError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder if folder.is_dir() else folder.parent)
        with write_folder(folder, last=FILE_NAME) as staging:
            for name, text in files.items():
                (staging / name).parent.mkdir(exist_ok=True)
                write_text(staging / name, text)
        for name in (earlier or set()) - files.keys():
            (folder / name).unlink(missing_ok=True)
    return folder / START


def _make_files(content: Content) -> dict[str, str]:
    """Return path of each file, relative to the folder -> its text."""
    pages = {locate_page(one.name): render_checkpoint(one, content) for one in content.checkpoints}
    return {START: render_index(content), **pages, FILE_NAME: json.dumps(make_index(content), indent=1) + "\n"}
