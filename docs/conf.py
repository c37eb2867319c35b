"""How Sphinx builds the site: ``make docs``.

The pages are Markdown, readable as files too. In the site, ``ingestion/cli/reference.py`` replaces
each line ``<!-- from code: NAME -->`` by what it makes of the code, so it cannot be out of date.
"""

from __future__ import annotations

import re
from html import unescape
from importlib.metadata import version as installed

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, NumpyDocstring

from ingestion.cli.reference import with_code

project = "tvfeast"
author = "the authors of tvfeast"
release = version = installed("tvfeast")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_static"]

nb_execution_mode = "force"  # the notebooks are kept without what they print
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nitpicky = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

copybutton_prompt_text = "$ "  # and leave out what the command answers
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
html_title = "tvfeast"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


def _put_in(_: Sphinx, __: str, source: list[str]) -> None:
    """Replace each line that names what is made from code."""
    source[0] = with_code(source[0])


def _numpy_style(
    app: Sphinx, what: str, name: str, documented: object, options: object, lines: list[str]
) -> None:
    """Read a docstring; an attribute's may have a colon in it, which Napoleon takes for a type."""
    kind = "method" if what in {"attribute", "data", "property"} else what
    read = NumpyDocstring(
        lines, Config(napoleon_use_rtype=False), app, kind, name, documented, options
    )
    lines[:] = read.lines()


_CONSOLE = re.compile(r'(<div class="highlight-console.*?<pre>)(.*?)(</pre>)', re.DOTALL)
_RULE = re.compile(r"-+(  -+)+")
"""The line below the names of a table's columns."""


def _scrolling(block: str) -> str:
    """Put each table that a command has printed into an element of its own, to be scrolled."""
    lines = block.splitlines(keepends=True)
    plain = [unescape(re.sub("<[^>]+>", "", line)).rstrip("\n") for line in lines]
    for at, rule in enumerate(plain):
        if at and _RULE.fullmatch(rule.rstrip()):
            gaps = [gap.start() for gap in re.finditer("  ", rule)]
            last = at
            while last + 1 < len(plain) and _is_row(plain[last + 1], gaps, len(rule)):
                last += 1
            lines[at - 1] = f'<span class="table" tabindex="0">{lines[at - 1]}'
            lines[last] += "</span>"
    return "".join(lines)


def _is_row(line: str, gaps: list[int], width: int) -> bool:
    return 0 < len(line) <= width and all(line[gap : gap + 2].strip() == "" for gap in gaps)


def _let_tables_scroll(
    _: Sphinx, __: str, ___: str, context: dict[str, object], ____: nodes.document | None
) -> None:
    """Mark the tables of a page's consoles: the sentences around them wrap, which they cannot."""
    if isinstance(body := context.get("body"), str):
        context["body"] = _CONSOLE.sub(lambda at: at[1] + _scrolling(at[2]) + at[3], body)


def setup(app: Sphinx) -> None:
    """Let Sphinx ask for what is made from code when it reads a page or a docstring."""
    app.connect("source-read", _put_in)
    app.connect("autodoc-process-docstring", _numpy_style)
    app.connect("html-page-context", _let_tables_scroll)
