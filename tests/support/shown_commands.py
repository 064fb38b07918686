"""Runs the command lines that the documentation shows, on a desk of `support.documentation`."""

import re
import shlex

from support.paths import ROOT

STANDS_FOR = {
    "FILE": "model.pth",
    "DIR": "../home/reid",
    "NAME": "osnet_x0_25.market1501",
    "/srv/reidhub": "mirror",
    "/mnt/reidhub": "mirror",
    "https://host/reidhub": "mirror",
}
"""Words in capitals and addresses in a command -> what a reader puts there."""
NEEDS_A_NETWORK = {"pip", "pre-commit", "git"}  # they fetch from hosts that are not on the loopback


def read_commands(code: str) -> list[str]:
    """The commands of a shell block, without comments; a line that ends with a backslash goes on in the next."""
    lines = code.replace("\\\n", " ").splitlines()
    return [text for line in lines if (text := re.sub(r"(^|\s)#.*", "", line).strip())]


def fill_in(command: str) -> str:
    """The command with what a reader would put in the place of the words in `STANDS_FOR`."""
    for name, value in STANDS_FOR.items():
        command = re.sub(rf"(?<![\w/.-]){re.escape(name)}(?![\w/-])", value, command)
    return command


def adapt(command: str) -> str | None:
    """The command as `fill_in` makes it, with options that make it fast; None where it needs a network."""
    command = fill_in(command)
    words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    program, arguments = words[0], words[1:]
    if program in NEEDS_A_NETWORK:
        return None
    if program == "make":
        return f"{command} --dry-run -C {shlex.quote(str(ROOT))}"
    assert program in {"reidhub", "python", "sha256sum", "cd"}, f"say in this test how to run {command!r}"
    if program == "reidhub" and arguments[:1] == ["verify"] and not {"--dry-run", "--level"} & set(arguments):
        return f"{command} --dry-run"
    if program == "reidhub" and arguments[:1] == ["evaluate"]:
        return f"{command} --precision exact"  # compiling takes longer than these few images
    if program == "reidhub" and arguments[:1] in (["demo"], ["compare"], ["export"]):
        return f"{command} --help"  # its own tests run it
    return command
