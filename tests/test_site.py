"""The built site: its links lead somewhere, searches find the right page, and pages fit a screen and a phone."""

import time
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from tests.helpers.browser import browser
from tests.helpers.clocks import HANGS
from tests.helpers.site import served, site

pytestmark = [pytest.mark.slow, pytest.mark.essential, pytest.mark.xdist_group("site")]

#: What somebody looks for, and the page that must come first.
SEARCHES = {
    "sharpness": "reference/api/solvers.top_eigenpairs.html",
    "resume": "guides/long_runs.html",
    "MPI": "guides/mpi.html",
    "learning rate schedule": "reference/api/solvers.Schedule.html",
    "Sinkhorn": "reference/api/solvers.transport.w2.html",
}
#: A page of every kind.
LOOKED_AT = (
    "index.html",
    "reference/commands.html",
    "reference/configuration.html",
    "reference/api/solvers.CentralFlow.html",
    "theory/half_step_delay.html",
    "guides/python.html",
    "auto_gallery/index.html",
    "results/comparison.html",
    "source/tests/cross_checks/test_theory.html",
)


class _Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.ids.add(value)
            if name in ("href", "src") and value:
                self.links.add(value)


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def tabs(html, tmp_path_factory):
    with served(html) as address, browser(tmp_path_factory.mktemp("profile")) as running:
        yield lambda page: running.open(f"{address}/{page}")


def test_every_internal_link_leads_to_a_page_and_a_place_in_it(html):
    pages = {
        path.resolve(): _Page(path.read_text(encoding="utf-8"))
        for path in html.rglob("*.html")
        if "_static" not in path.parts
    }
    broken = []
    for path, page in pages.items():
        for link in page.links:
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            to, place = urldefrag(link)
            target = (path.parent / unquote(to.partition("?")[0])).resolve() if to else path
            known = pages.get(target)
            if not target.exists() or (
                place and known is not None and unquote(place) not in known.ids
            ):
                broken.append((path.name, link))
    assert len(pages) > 100 and broken == []


def test_a_test_that_a_page_names_is_a_link_to_its_source(html):
    page = (html / "theory/half_step_delay.html").read_text(encoding="utf-8")
    assert 'href="../source/tests/cross_checks/test_theory.html#test_the_delayed_center' in page


@pytest.mark.parametrize("words", SEARCHES)
def test_a_search_finds_the_right_page_first(tabs, words):
    tab = tabs(f"search.html?q={words.replace(' ', '+')}")
    give_up = time.monotonic() + HANGS
    first = None
    while first is None and time.monotonic() < give_up:
        first = tab.evaluate(
            "document.querySelector('#search-results .search-summary')?.textContent.includes('found')"
            " ? document.querySelector('#search-results li a')?.getAttribute('href') : null"
        )
        time.sleep(0.05)
    assert first is not None
    assert first.partition("#")[0].partition("?")[0] == SEARCHES[words]


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("page", LOOKED_AT)
def test_pages_do_not_scroll_sideways(tabs, page, width):
    tab = tabs(page)
    tab.resize(width)
    root = "document.documentElement"
    assert tab.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
