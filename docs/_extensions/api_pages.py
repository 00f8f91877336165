"""A page for every public module and every public name, written from the modules' own lists before Sphinx reads."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from docstring_text import escaped
from docutils import nodes
from public_names import MODULES, Name, public_names, shown_members, summary
from sphinx.pycode import ModuleAnalyzer
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

FOLDER = "reference/api"


def write_pages(app: Any) -> None:
    """Handler of ``builder-inited``: pages that are as they were stay untouched, so they are not read again."""
    names = public_names()
    pages = {id(entry.thing) for entry in names}
    wanted = {}
    for module in MODULES:
        own = [entry for entry in names if entry.module == module]
        wanted[f"{module}.rst"] = _module_page(module, own)
        for entry in own:
            if not entry.is_data:
                wanted[f"{entry.full}.rst"] = _name_page(entry, pages)
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    for old in set(folder.glob("*.rst")) - {folder / name for name in wanted}:
        old.unlink()
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _module_page(module: str, names: list[Name]) -> str:
    import importlib

    about = inspect.cleandoc(importlib.import_module(MODULES[module]).__doc__ or "")
    first, _, rest = about.partition("\n\n")
    rows = [_title(module), escaped(" ".join(first.split())), "", f".. module:: {module}", ""]
    del rest
    rows += [".. list-table::", "   :class: names", "   :widths: auto", ""]
    for entry in names:
        if not entry.is_data:
            rows += [f"   * - :py:obj:`~{entry.full}`", f"     - {escaped(summary(entry.thing))}"]
    for entry in names:
        if entry.is_data:
            rows += ["", f".. autodata:: {entry.full}", "   :no-value:", ""]
    rows += ["", ".. toctree::", "   :hidden:", ""]
    rows += [f"   {entry.name} <{entry.full}>" for entry in names if not entry.is_data]
    return "\n".join(rows) + "\n"


def _name_page(entry: Name, pages: set[int]) -> str:
    rows = [_title(entry.full), f".. currentmodule:: {entry.module}", ""]
    if inspect.isclass(entry.thing):
        rows += [f".. autoclass:: {entry.full}", "   :show-inheritance:"]
        members = shown_members(entry, pages, _commented)
        if members:
            rows += [f"   :members: {', '.join(members)}"]
    else:
        rows += [f".. autofunction:: {entry.full}"]
    rows += [
        "",
        f".. minigallery:: {entry.full}",
        "   :add-heading: Examples of the gallery",
        "   :heading-level: -",
        "",
    ]
    return "\n".join(rows) + "\n"


def _commented(kind: type) -> list[str]:
    """Attributes with a comment ``#:`` in the source of a class."""
    documented = ModuleAnalyzer.for_module(kind.__module__)
    documented.analyze()
    own = [name for of, name in documented.attr_docs if of == kind.__qualname__]
    return [name for name in own if not name.startswith("_")]


def _title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n"


def public_bases(_app: Any, _name: str, _thing: Any, _options: Any, bases: list[Any]) -> None:
    """Handler of ``autodoc-process-bases``: bases by their public names, without those that nobody writes."""
    known = {id(entry.thing): entry for entry in public_names()}
    kept = [f":py:class:`{known[id(base)].full}`" for base in bases if id(base) in known]
    bases[:] = kept or [":py:class:`object`"]


def short_signature(
    _app: Any,
    _what: str,
    _name: str,
    thing: Any,
    _options: Any,
    arguments: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Handler of ``autodoc-process-signature``: of a configuration the keys alone."""
    if inspect.isclass(thing) and hasattr(thing, "model_fields"):
        return f"(*, {', '.join(f'{key}=…' for key in thing.model_fields)})", None
    return arguments, returns


def _by_short_name(env: Any) -> dict[str, tuple[str, str]]:
    """Pages and anchors of all public objects by their full names, and by the last part where that is unique."""
    objects = env.domains.python_domain.objects
    found: dict[str, tuple[str, str]] = {}
    ambiguous = set()
    for full, entry in objects.items():
        found[full] = entry.docname, entry.node_id
        if entry.objtype in ("method", "property", "attribute"):
            short = ".".join(full.split(".")[-2:])
        else:
            short = full.rpartition(".")[2]
        if short in found and found[short] != (entry.docname, entry.node_id):
            ambiguous.add(short)
        found.setdefault(short, (entry.docname, entry.node_id))
    return {name: at for name, at in found.items() if name not in ambiguous or "." in name}


def find_reference(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Handler of ``missing-reference``: a name of another module that is written without it."""
    if node.get("refdomain") != "py":
        return None
    at = _by_short_name(env).get(node["reftarget"])
    if at is None:
        return None
    return make_refnode(app.builder, node["refdoc"], at[0], at[1], content)


class LinkNames(SphinxPostTransform):
    """Code in the text of Markdown pages that is a public name leads to its page."""

    default_priority = 200

    def run(self, **kwargs: Any) -> None:
        if self.env.docname.startswith((FOLDER, "auto_")):
            return
        known = _by_short_name(self.env)
        for literal in list(self.document.findall(nodes.literal)):
            if isinstance(literal.parent, nodes.reference | nodes.title):
                continue
            at = known.get(literal.astext().partition("(")[0])
            if at is not None and at[0] != self.env.docname:
                link = make_refnode(
                    self.app.builder, self.env.docname, at[0], at[1], literal.deepcopy()
                )
                literal.replace_self(link)


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", write_pages, priority=100)
    app.connect("autodoc-process-bases", public_bases)
    app.connect("autodoc-process-signature", short_signature)
    app.connect("missing-reference", find_reference)
    app.add_post_transform(LinkNames)
    return {"parallel_read_safe": True}
