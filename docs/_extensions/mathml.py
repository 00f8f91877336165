"""Formulas as MathML, which browsers draw without a script or a network. Where there is one, MathJax draws them more finely."""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

MATHJAX = "https://cdn.jsdelivr.net/npm/mathjax@3/es5/mml-chtml.js"


def rendered(source: str, display: str) -> str:
    """A formula in LaTeX as a `<math>` element."""
    # Sized angle brackets and `aligned` are not known to the converter.
    plain = re.sub(r"\\[bB]ig[lr]\s*(?=\\[lr]angle|\\[{}])", "", source.strip())
    plain = plain.replace("{aligned}", "{align*}")
    found: str = convert(plain, display=display)
    # Bars are fences here, never operators with space about them.
    return re.sub(
        r"<mo([^>]*)>(&#x0007C;|&#x02223;|\|)</mo>", r'<mo\1 lspace="0" rspace="0">|</mo>', found
    )


def visit_math(translator: Any, node: nodes.Element) -> None:
    translator.body.append(rendered(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_math_block(translator: Any, node: nodes.Element) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    if node["number"]:  # the theme's rows go from right to left
        translator.body.append(f'<span class="eqno">({node["number"]})</span>')
    translator.body.append(rendered(node.astext(), "block"))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.add_js_file(MATHJAX, loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
