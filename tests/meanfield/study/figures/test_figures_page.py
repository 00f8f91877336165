"""A figure as an element of a page: well-formed, alone with itself, and of the page's colour."""

import re
from xml.etree import ElementTree

import pytest

from meanfield.study import figures

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawn(record):
    return {drawn.name: drawn for drawn in figures.run_figures(record)}


@pytest.fixture(scope="module")
def texts(drawn):
    return {name: figures.svg(one) for name, one in drawn.items()}


@pytest.fixture(scope="module")
def trees(texts):
    return {name: ElementTree.fromstring(text) for name, text in texts.items()}


def test_it_is_an_element_with_a_role_and_a_title(drawn, texts, trees):
    for name, tree in trees.items():
        assert texts[name].startswith("<svg ")
        assert (tree.tag, tree.get("role")) == (f"{SVG}svg", "img")
        title = tree.find(f"{SVG}title")
        assert title.text == drawn[name].title
        assert tree.get("aria-labelledby") == title.get("id")
        assert tree.get("viewBox")


def test_ids_are_unique_over_all_figures_of_a_page(trees):
    ids = [e.get("id") for tree in trees.values() for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids)) > 100


def test_every_reference_is_to_an_id_of_the_same_figure(texts, trees):
    for name, tree in trees.items():
        ids = {element.get("id") for element in tree.iter()}
        found = re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', texts[name])
        assert found
        assert {one or other for one, other in found} <= ids


def test_nothing_outside_is_referred_to_and_nothing_in_the_page_is_changed(texts):
    for text in texts.values():
        addresses = set(re.findall(r'https?://[^"\s<]*', text))
        assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
        assert not re.search(r'(?:href|src)="(?!#|data:image/png;base64,)', text)
        for forbidden in ("<style", "<script", "<metadata", "@import", "<!DOCTYPE", "<?xml"):
            assert forbidden not in text


def test_what_is_black_takes_the_colour_of_the_page(texts, trees):
    for name, text in texts.items():
        assert not re.search("#000000|black", text)
        assert trees[name].get("fill") == "currentColor"
    assert "stroke: currentColor; stroke-width: 2.4" in texts["loss"]  # gradient descent
    # and there is no background
    assert not any(re.search("fill: *#ffffff", text) for text in texts.values())


def test_text_stays_text(trees):
    words = {"".join(e.itertext()).strip() for e in trees["sharpness"].iter(f"{SVG}text")}
    assert {"edge of stability 2/η", "gradient descent", "eigenvalues λ"} <= words


@pytest.mark.slow
def test_the_same_data_give_the_same_text(record, texts):
    again = {drawn.name: figures.svg(drawn) for drawn in figures.run_figures(record)}
    assert again == texts


def test_it_is_small_enough_to_be_inlined(texts):
    assert max(map(len, texts.values())) < 200_000
