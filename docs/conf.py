"""Settings of Sphinx for the documentation site, which `make docs` builds."""

import re
from collections.abc import Iterator
from typing import Any

import click
from docutils import nodes
from docutils.nodes import Element, Node, TextElement
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.util.docutils import SphinxDirective

from reidhub._version import __version__
from reidhub.cli import cli

project = "reidhub"
templates_path = ["_templates"]
release = version = __version__
language = "en"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx_copybutton"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", ".*"),  # backticks in docstrings also mark words that are not public names
    (r"py:\w+", r"(collections|contextlib|decimal|http|numpy|os|pathlib|PIL|torch)\..*|Image"),
]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

default_role = "name"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
autosummary_generate = False
python_maximum_signature_line_length = 88

copybutton_prompt_text = "$ "

html_theme = "furo"
html_title = f"reidhub {__version__}"
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/explorer.html",  # ours; the others are furo's
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"loading_method": "defer"})]
html_copy_source = False
html_show_copyright = False
html_use_index = False
html_domain_indices = False
html_show_sphinx = False

PAGES = {"../CHANGELOG.md": "changelog.md", "../benchmarks/RESULTS.md": "benchmarks.md"}
"""A file outside of this folder that pages link to -> the page that shows it."""


class NameRole(PyXRefRole):
    """Single backticks in a docstring: a link if the reference has an entry of this name, else only code."""

    def run(self) -> tuple[list[Node], list[Any]]:
        """Return the node."""
        self.name = "py:obj"
        if re.fullmatch(r"[A-Za-z_][\w.]*", self.text):
            return super().run()
        return [nodes.literal(self.rawtext, self.text)], []


class Commands(SphinxDirective):
    """A section for every command, with the text of its `--help`."""

    def run(self) -> list[Node]:
        """Return the sections."""
        parts = [f"## {one.command_path}\n\n```text\n{one.get_help()}\n```" for one in list_commands(cli)]
        return self.parse_text_to_nodes("\n\n".join(parts), allow_section_headings=True)


def list_commands(command: click.Command, parent: click.Context | None = None) -> Iterator[click.Context]:
    """Yield the context of a command and of each command below it."""
    name = command.name if parent else "reidhub"
    context = click.Context(command, parent, name, terminal_width=80, **command.context_settings)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from list_commands(command.get_command(context, below), context)


def read_google_style(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn the sections of a docstring, such as "Args:", into reStructuredText.

    Napoleon is not loaded as an extension: it would read the words before a colon in a property's docstring as a type.
    """
    if what not in ("attribute", "data", "property"):
        lines[:] = GoogleDocstring(lines, what=what, name=name, obj=obj, options=options).lines()


def shorten_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Leave out the shape and dtype of arrays, and write `...` for a default that is made anew for each object."""
    shorter = re.sub(r"ndarray\[tuple\[.*?\], ~?numpy\.dtype\[.*?\]\]", "ndarray", signature or "")
    return shorter.replace("<factory>", "...") or None, returned


def find_entry(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: TextElement) -> Element | None:
    """Find the entry of a name that a docstring gives without its module, or with the module that defines it."""
    python = env.domains.python_domain
    name = node["reftarget"].rpartition(".")[2]
    found = [entry for entry in python.objects if entry.rpartition(".")[2] == name]
    if node.get("refdomain") != "py" or len(found) != 1:
        return None
    return python.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, text)


def link_pages(app: Sphinx, page: str, source: list[str]) -> None:
    """Let links to files outside of this folder lead to the pages that show them."""
    for path, target in PAGES.items():
        source[0] = source[0].replace(f"]({path}", f"]({target}")


def mend_roles(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Node | None) -> None:
    """Add roles that screen readers need and that Sphinx and furo leave out."""
    contents = context["furo_navigation_tree"]
    context["furo_navigation_tree"] = contents.replace('role="heading"', 'role="heading" aria-level="2"')
    if "body" in context:
        signature = r'(<span class="sig-paren">\(</span>\s*<dl)>'
        context["body"] = re.sub(signature, r'\1 role="presentation">', context["body"])


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.add_role("name", NameRole())
    app.add_directive("commands", Commands)
    app.connect("autodoc-process-docstring", read_google_style)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("missing-reference", find_entry)
    app.connect("source-read", link_pages)
    app.connect("html-page-context", mend_roles, priority=900)  # after furo has made the contents
