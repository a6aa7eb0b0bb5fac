"""The table of the recipe in the report of a training: nothing of it is cut off, however long a value is."""
import re

import pytest
from browser import opened

import reskeras
from reskeras.commands import html
from reskeras.commands.train import _build_report
from reskeras.train.recipes import CIFAR_HE

LONG = ("inception_crop(224)|flip|randaugment(2, 9)|erase(0.25)|mixup(0.2)|cutmix(1.0)|" * 6).rstrip("|")
UNBROKEN = "x" * 400        # no place to break a line at
ROW = {"epoch": "1", "loss": "1", "accuracy": "0.5", "learning_rate": "0.1", "images_per_s": "1",
       "waiting": "0"}


def make_page(folder):
    recipe = CIFAR_HE.as_dict()
    recipe["training"] = {**recipe["training"], "augmentation": LONG}
    recipe["sources"] = {**recipe["sources"], "augmentation": UNBROKEN}
    info = {"recipe": recipe, "data": {"name": "digits", "images": 10}, "net": "net", "seed": 0,
            "strategy": {"strategy": "none"}, "versions": {"keras": "3"}, "learning_rate": "0.1",
            "resume": "reskeras train --resume " + "y" * 300}
    return html.write_page(folder / "report.html", _build_report(info, [ROW], {}, []))


def read_rules(css):
    """Selector -> its declarations, outside of @media; and the same of @media print."""
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    printed = css.partition("@media print {")[2]
    plain = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", css)

    def rules(text):
        found = {}
        for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", text):
            for selector in selectors.split(","):
                values = dict(re.findall(r"([\w-]+):\s*([^;]+?)\s*(?:;|$)", body))
                found.setdefault(" ".join(selector.split()), {}).update(values)
        return found
    return rules(plain), rules(printed)


def test_the_rules_of_the_page_let_long_values_wrap(tmp_path):
    """As far as it can be read without a browser: the table wraps, no rule hides or cuts, print has no scroll
    bar and so no scrolling box.
    """
    text = make_page(tmp_path).read_text()
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    rules, printed = read_rules(style)
    recipe = text[text.index("Recipe cifar_he") if "Recipe cifar_he" in text else text.index("Recipe "):]
    table = recipe[:recipe.index("</table>")]
    assert '<table class="wrap">' in table and LONG in table and UNBROKEN in table
    for cell in ("th", "td"):
        assert rules[f".wrap {cell}"]["white-space"] == "normal"
        assert rules[f".wrap {cell}"]["overflow-wrap"] == "anywhere"
    assert rules["code"]["overflow-wrap"] == "anywhere"
    assert printed[".wide"]["overflow"] == "visible"
    assert not re.search(r"text-overflow|overflow(-x)?:\s*(hidden|clip)|max-height|line-clamp", style)
    assert not re.search(r"\.wrap[^{]*\{[^}]*nowrap", style)


# The pixels of text beyond the window or the table's own box, for each cell
CUT_OFF = """() => {
  const table = [...document.querySelectorAll('section')].find(s => s.textContent.startsWith('Recipe'))
      .querySelector('table');
  const box = table.parentElement.getBoundingClientRect();
  return [...table.querySelectorAll('td, th')].filter(cell => {
    const range = document.createRange(); range.selectNodeContents(cell);
    const text = range.getBoundingClientRect();
    return text.right > box.right + 1 || text.left < box.left - 1 || text.right > innerWidth + 1
        || cell.scrollWidth > cell.clientWidth + 1; }).length }"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("medium", ["screen", "print"])
def test_in_the_browser_nothing_is_cut_off(tmp_path, width, medium):
    file = make_page(tmp_path)
    with opened(file, width) as (tab, complaints):
        tab.emulate_media(media=medium)
        assert tab.evaluate(CUT_OFF) == 0
        if medium == "screen":
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert complaints == []
    file.write_text(file.read_text().replace("overflow-wrap: anywhere", ""))     # the test can fail
    with opened(file, width) as (tab, _):
        tab.emulate_media(media=medium)
        assert tab.evaluate(CUT_OFF) > 0


def test_a_table_that_does_not_wrap_is_seen():
    """The same reading of the rules finds what was wrong before tables wrapped."""
    rules, _ = read_rules("th, td { white-space: nowrap } @media print { .wide { overflow: visible } }")
    assert rules["td"] == {"white-space": "nowrap"} and ".wrap td" not in rules
    assert reskeras.list_recipes()
