"""Reads the pages of `sophia report` and `sophia train --serve`."""

import base64
import hashlib
import html.parser
import re

TAGS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "strong", "dl", "div",
        "dt", "dd", "section", "figure", "figcaption", "span", "small", "svg", "line", "text", "polyline",
        "circle", "table", "tr", "th", "td", "pre", "ul", "li", "details", "summary", "script"}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "id", "class", "viewbox", "role", "x",
              "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "points"}
VOID = {"meta", "line", "polyline", "circle"}


class Page(html.parser.HTMLParser):
    """A page of known elements, all closed; `text` by id, `plots` by title, and all text."""

    def __init__(self, source):
        super().__init__()
        self.open, self.ids, self.plots, self.texts, self.tags = [], {}, {}, [], []
        self.source = source
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert tag in TAGS, tag
        attributes = dict(attributes)
        assert attributes.keys() <= ATTRIBUTES, attributes
        self.tags.append(tag)
        if tag == "svg":
            self.plots[self.caption] = []
        if tag == "polyline":
            points = [tuple(map(float, point.split(","))) for point in attributes["points"].split()]
            self.plots[self.caption].append((attributes["class"], points))
        if tag == "figcaption":
            self.caption = None
        if tag not in VOID:
            self.open.append((tag, attributes.get("id")))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        assert tag in VOID

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "figcaption" and self.caption is None:
            self.caption = data.strip()
        if self.open and self.open[-1][1]:
            self.ids[self.open[-1][1]] = self.ids.get(self.open[-1][1], "") + data
        if not (self.open and self.open[-1][0] in ("style", "script")):
            self.texts.append(data)


def hash_source(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def assert_self_contained(source, policy):
    """Nothing comes from elsewhere, and the policy names the page's own style and script."""
    assert not re.search(r"\b(src|href|action)=|url\(|@import|https?:|//", re.sub(r"sha256-[^']*", "", source))
    for tag in ("style", "script"):
        for text in re.findall(rf"<{tag}>(.*?)</{tag}>", source, re.DOTALL):
            assert f"{tag}-src {hash_source(text)}" in policy
    assert policy.startswith("default-src 'none'; ")
