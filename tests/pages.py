"""Pages of HTML as tests want them: read by a parser, which sees what a browser would."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
from numpy.typing import NDArray

EMPTY = {"meta", "img", "br"}  # elements without an end


class Page(HTMLParser):
    """The elements, the text and the pictures of a page."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.source = content.decode()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.cells: list[list[str]] = []
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)
            if {"td", "th"} & set(self.open):
                self.cells[-1][-1] += data

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    @property
    def rows(self) -> dict[str, list[str]]:
        """The rows of all tables, by their first cell."""
        return {cells[0]: cells[1:] for cells in self.cells if cells}

    @property
    def pictures(self) -> list[NDArray[np.uint8]]:
        """All pictures, decoded."""
        return [picture(attributes["src"] or "") for tag, attributes in self.elements if tag == "img"]

    def check_stands_alone(self) -> None:
        """Nothing of it runs, and nothing of it is fetched."""
        tags = {tag for tag, _ in self.elements}
        assert not tags & {"script", "link", "iframe", "object", "embed", "form", "a", "base", "audio", "video", "foreignobject", "use"}
        assert "<script" not in self.source.lower()
        assert not re.search(r"https?:|//[a-z]|url\(|@import|javascript:", re.sub(r"data:image/png;base64,[\w+/=]+", "", self.source.lower()))
        for tag, attributes in self.elements:
            assert not [name for name in attributes if name.startswith("on")], tag
            for name in ("src", "href", "srcset", "xlink:href", "data"):
                assert (attributes.get(name) or "data:image/png;base64,").startswith("data:image/png;base64,")
        policies = [about["content"] for _, about in self.elements if about.get("http-equiv") == "Content-Security-Policy"]
        assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def picture(address: str) -> NDArray[np.uint8]:
    """The picture that an address holds, (H, W, 3)."""
    from PIL import Image

    head, _, data = address.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))).convert("RGB"))
