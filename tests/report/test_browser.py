"""The page in a browser: nothing is asked of a network, nothing is too wide for a phone. Needs Chromium and playwright."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_opens_from_a_file(browser: Any, measured: Any, width: int) -> None:
    measured.report()
    view = browser.new_page(viewport={"width": width, "height": 900})
    asked, said = [], []
    view.on("request", lambda request: asked.append(request.url))
    view.on("console", lambda message: said.append(message.text))
    view.goto((measured.store.folder / "report/index.html").as_uri())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    pictures = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
    assert view.evaluate(pictures)
    shown = "document.querySelector('figure .wide').getBoundingClientRect().width > 0"
    assert view.evaluate(shown) == (width > 700)
