"""The page as a person uses it: by keys alone, over a reload, to a file that the analysis reads."""

import pandas as pd
import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def view(browser, audited):
    context = browser.new_context(accept_downloads=True, viewport={"width": 1100, "height": 800})
    found = context.new_page()
    found.asked, found.said = [], []
    found.on("request", lambda request: found.asked.append(request.url))
    found.on("console", lambda message: found.said.append(message.text))
    found.on("pageerror", lambda error: found.said.append(str(error)))
    found.goto((audited.store.folder / "audit/index.html").as_uri())
    return found


def press(view, keys):
    for key in keys.split():
        view.keyboard.press(key)


def saved(view, key):
    with view.expect_download() as download:
        view.keyboard.press(key)
    return download.value


def test_by_keys_alone_over_a_reload_to_the_analysis(view, audited, tmp_path):
    view.keyboard.type("Ada Lovelace")
    press(view, "Enter 1 3 2 0 u")
    assert view.inner_text("#count") == "Picture 2 of 48 · 1 labelled"
    view.reload()
    assert view.inner_text("#who") == "Ada Lovelace · 1 of 48"
    press(view, "4 ArrowLeft ArrowLeft ArrowUp 2 ArrowRight ArrowRight 1 5")
    for _ in range(45):
        press(view, "0 2")
    assert view.is_visible("#end")
    assert view.get_attribute("#bar", "aria-valuenow") == "48"
    for key, ending in (("e", "csv"), ("j", "json")):
        file = saved(view, key)
        assert file.suggested_filename.endswith(f"-Ada_Lovelace.{ending}")
        file.save_as(tmp_path / f"people.{ending}")
    table = pd.read_csv(tmp_path / "people.csv")
    items = sorted(audited.sample["item"])
    assert table["item"].drop_duplicates().tolist() == items
    assert table["label"].head(6).tolist() == ["male", "20-39", "male", "40-69", "female", "70+"]
    assert table["label"].tail(2).tolist() == ["cannot tell", "4-19"]
    assert view.said == []
    assert [url for url in view.asked if not url.startswith(("file:", "data:", "blob:"))] == []

    audited.analyse(audit_labels=[tmp_path / "people.csv", tmp_path / "people.json"])
    told = audited.run.table("audit").query("attribute == 'gender'").set_index("quantity")["n"]
    assert told["annotators"] == 1
    assert told["labelled"].tolist() == [24, 24]


def test_another_person_starts_afresh_and_the_first_finds_theirs_again(view):
    view.keyboard.type("=A")
    press(view, "Enter 1 3 n")
    view.keyboard.type("B")
    press(view, "Enter")
    assert view.inner_text("#who") == "B · 0 of 48"
    press(view, "n")
    view.keyboard.type("A")
    press(view, "Enter")
    assert view.inner_text("#who") == "A · 1 of 48"


@pytest.mark.parametrize("width", [360, 1100])
def test_pictures_are_shown_and_nothing_is_too_wide(view, width):
    view.set_viewport_size({"width": width, "height": 800})
    view.keyboard.type("A")
    press(view, "Enter")
    view.wait_for_function("document.images[0].complete && document.images[0].naturalWidth > 0")
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert view.evaluate("document.querySelectorAll('fieldset.now legend').length") == 1
    assert view.get_attribute("#image", "alt") == "Picture 1 of 48"
