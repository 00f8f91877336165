"""Reports in a browser: nothing asked of the network, nothing hidden, nothing wider than a phone, nothing too pale to read."""

import base64
import re
from dataclasses import replace

import pytest

from meanfield.study.report import run_sections, study_sections
from meanfield.study.storage.writer import read_run
from tests.helpers.browser import browser
from tests.helpers.studies import study

pytestmark = pytest.mark.slow

LAPTOP, TABLET, PHONE = 1440, 768, 360
LEAST_CONTRAST = 4.5  # WCAG 2.2, level AA, text of ordinary size

FIGURES = """[...document.querySelectorAll('figure svg')].map(svg => {
  const box = svg.getBoundingClientRect();
  const drawn = [...svg.querySelectorAll('path, use, image')].filter(e => e.getBoundingClientRect().width > 0);
  return {width: box.width, height: box.height, drawn: drawn.length, id: svg.closest('figure').id};
})"""

CUT = """[...document.querySelectorAll('figure svg')].flatMap(svg => {
  const page = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.left < page.left - 1 || box.right > page.right + 1 || box.top < page.top - 1 || box.bottom > page.bottom + 1;
  }).map(text => svg.id + ': ' + text.textContent);
})"""

# What sticks out to the right of the page, but for what is inside a box that scrolls.
OVERFLOW = """[...document.body.querySelectorAll('*')].filter(e =>
  !e.closest('svg') && !e.parentElement.closest('.box') && e.getBoundingClientRect().right > innerWidth + 0.5
).map(e => e.tagName + '.' + e.className)"""

# The least contrast of any text with what lies under it, colours composed down to the page's own.
CONTRAST = """(() => {
  const parse = c => { const [r, g, b, a = 1] = c.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const light = c => { const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = e => { const chain = [];
    for (; e; e = e.parentElement) chain.unshift(parse(getComputedStyle(e).backgroundColor));
    return chain.reduce((under, top) => over(top, under), [255, 255, 255]); };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || e.closest('svg')) continue;
    const under = ground(e), ink = over(parse(getComputedStyle(e).color), under);
    const [low, high] = [light(ink), light(under)].sort((a, b) => a - b);
    found.push([(high + 0.05) / (low + 0.05), walker.currentNode.data.slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0])[0];
})()"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


def many_processes(record):
    """Nine processes with long names, all but one of which have something to warn of."""
    flow = record.processes["free_energy_flow"]
    broken = replace(flow, status="failed", message="<b>a reason</b> that takes a line or two " * 4)
    names = [f"free_energy_flow_variant_{i}" for i in range(8)]
    others = dict.fromkeys(names, broken)
    descent = record.processes["gradient_descent"]
    comparison = dict.fromkeys(names, record.comparison["free_energy_flow"])
    processes = {"gradient_descent": descent} | others
    return replace(record, processes=processes, comparison=comparison)


@pytest.fixture(scope="module", params=["run", "many processes", "study"])
def tab(request, chromium, small_run, tmp_path_factory):
    record = read_run(small_run)
    if request.param == "study":
        made = study_sections.report(study())
    else:
        shown = record if request.param == "run" else many_processes(record)
        made = run_sections.report(shown)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(made.text, encoding="utf-8")
    return chromium.open(path.as_uri())


@pytest.fixture(autouse=True)
def as_at_first(tab):
    tab.prefer()
    tab.resize(LAPTOP)


def test_the_console_is_silent_and_nothing_is_asked_of_a_network(tab):
    tab.resize(PHONE)
    told = tab.events(
        "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Audits.issueAdded"
    )
    assert told == []
    asked = [event["request"]["url"] for event in tab.events("Network.requestWillBeSent")]
    assert asked[0].startswith("file:///") and asked[0].endswith("/report.html")
    assert all(url.startswith("data:") for url in asked[1:])


@pytest.mark.parametrize("width", [LAPTOP, TABLET, PHONE])
def test_every_figure_is_seen(tab, width):
    tab.resize(width)
    figures = tab.evaluate(FIGURES)
    assert len(figures) >= 3
    for figure in figures:
        assert figure["width"] > 200 and figure["height"] > 100 and figure["drawn"] > 10, figure
    assert tab.evaluate(CUT) == []


@pytest.mark.parametrize("width", [LAPTOP, TABLET, PHONE])
def test_the_page_is_no_wider_than_the_window(tab, width):
    tab.resize(width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(OVERFLOW) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast(tab, scheme):
    tab.prefer(prefers_color_scheme=scheme)
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    contrast, text = tab.evaluate(CONTRAST)
    assert contrast >= LEAST_CONTRAST, text


def test_boxes_that_scroll_are_reached_with_the_keyboard(tab):
    tab.resize(PHONE)
    boxes = "[...document.querySelectorAll('.box')].filter(b => b.scrollWidth > b.clientWidth + 1)"
    assert tab.evaluate(f"{boxes}.length") > 0
    assert tab.evaluate(f"{boxes}.every(b => b.tabIndex === 0)")
    tab.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    assert tab.evaluate("document.activeElement.getBoundingClientRect().top >= 0")
    tab.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "report"


def test_figures_and_boxes_have_names_for_those_who_do_not_see_them(tab):
    tab.call("Accessibility.enable")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    tab.call("Accessibility.disable")
    seen = [node for node in nodes if not node["ignored"]]
    for role in ("image", "region", "table", "navigation"):
        named = [node["name"]["value"] for node in seen if node["role"]["value"] == role]
        assert named and all(named), role
    assert sum(node["role"]["value"] == "main" for node in seen) == 1


def test_on_paper_it_is_light_whole_and_without_navigation(tab):
    tab.resize(720)  # about as wide as a sheet of paper is between its margins
    tab.prefer(media="print", prefers_color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    cut = (
        "[...document.querySelectorAll('.box, pre')].filter(e => e.scrollWidth > e.clientWidth + 1)"
    )
    assert tab.evaluate(f"{cut}.map(e => e.innerText.slice(0, 40))") == []
    contrast, text = tab.evaluate(CONTRAST)
    assert contrast >= LEAST_CONTRAST, text
    tab.prefer()
    pdf = base64.b64decode(tab.call("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3


def test_nothing_moves_where_motion_is_not_wanted(tab):
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    assert tab.evaluate(behaviour) == "smooth"
    tab.prefer(prefers_reduced_motion="reduce")
    assert tab.evaluate(behaviour) == "auto"
