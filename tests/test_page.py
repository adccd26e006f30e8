"""The page: whole in one file, every number with its runs, and alive in a browser."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest
from test_report import curve, record, swept
from test_verdicts import contracting, in_blocks, measured

from stablernn.report.write import write_report
from stablernn.utils.files import write_json

LIMIT = 3 * 2**20  # bytes
SWITCHED_OFF = "return document.querySelectorAll('.legend button[aria-pressed=\"false\"]').length"


def write(results: Path) -> Path:
    """Records of every kind with their analyses, and the page made of them."""
    source = results / "records" / "paper"
    distance = {"options": {"reference": 65}, "updates": [0, 9], "reference_moved": [0.0, 2.0], "distance": [0.0, 0.5]}
    entries = [
        in_blocks(record(value, stability=s, seed=n), 0.02)
        for s in ("unstable", "stable")
        for n, value in enumerate((90.0, 91.0))
    ]
    entries.append(record(None, model="rnn"))
    for entry in entries:
        entry.write(source / "perplexity" / entry.id)
        if entry.status == "finished":
            folder = source / "perplexity" / entry.id
            bound = [1.5, 0.9, 0.5] if "stable" in entry.id else None
            write_json(folder / "truncation.json", curve([100.0, 91.0, 90.0], certified=bound))
            write_json(folder / "contraction.json", contracting(-0.1, 0.01, 2))
    for entry in swept({5: 100.0, 35: 90.0}, {5: 110.0, 35: 90.5}):
        entry.write(source / "truncation_sweep" / entry.id)
    for k in (5, 35, 65):
        entry = record(90.0, approximation="feedforward", truncation__k=k, seed=5)
        entry.write(source / "weight_distance" / entry.id)
        write_json(source / "weight_distance" / entry.id / "weight_distance.json", distance)
    write_json(results / "bench" / "sequences-a-processor.json", measured(training=4.0))
    *_, path = write_report(results / "records", results, None)
    return path


@pytest.fixture(scope="module")
def path(report):
    return report / "report" / "index.html"


@pytest.fixture(scope="module")
def text(path):
    return path.read_text(encoding="utf-8")


def without_library(text: str) -> str:
    """The page but for the script that it did not write itself."""
    scripts = re.findall(r"<script>.*?</script>", text, flags=re.DOTALL)
    return text.replace(max(scripts, key=len), "")


def test_the_page_is_one_file_that_fetches_nothing(path, text):
    assert path == path.parent / "index.html"
    assert [other.name for other in path.parent.iterdir()] == ["index.html"]
    assert path.stat().st_size < LIMIT
    own = without_library(text)
    assert len(own) < len(text) / 2
    assert not re.search(r"<(?:script|img|iframe|source|video|object|embed)\b[^>]*\b(?:src|data)\s*=", own)
    assert not re.search(r"<link\b(?![^>]*href=\"data:)", own)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", own)
    linked = set(re.findall(r"https?://[^\s\"'<>\\]+", own))
    assert all(re.match(r"https://(arxiv\.org/|vega\.github\.io/schema/)", link) for link in linked)
    assert "default-src 'none'" in own


def test_every_record_is_on_the_page_with_what_it_was_made_of(path, text):
    ids = [json.loads(file.read_text())["id"] for file in path.parents[1].rglob("record.json")]
    assert len(ids) == 12
    for name in ids:
        assert f'id="run-{name}"' in text
    headed = [int(count) for count in re.findall(r'<details class="runs">\n<summary>.+\((\d+)\)</span>', text)]
    assert len(headed) > 1
    assert sum(headed) == text.count('<details class="run" ')
    entry = text.split(f'id="run-{ids[0]}"')[1].split("</details>")[0]
    for fact in ("seed", "a processor, threads 2", "abc", "1 s", "model.hidden_size=200", "2 epochs, 10 updates"):
        assert fact in entry


def test_every_number_of_the_perplexity_table_leads_to_its_runs(text):
    table = text.split('aria-label="Test perplexity on WikiText-2, profile `paper`"')[1].split("</table>")[0]
    assert re.search(r'<th scope="col"[^>]*>published</th>', table)
    cell = re.search(r'href="#run-([^"]+)" data-runs="([^"]+)">90\.5 ± 0\.7</a>', table)
    assert cell
    assert len(cell[2].split()) == 2
    known = set(re.findall(r'id="run-([^"]+)"', text))
    assert {name for ids in re.findall(r'data-runs="([^"]+)"', text) for name in ids.split()} <= known


def test_names_from_records_are_text_and_never_markup(tmp_path):
    entry = record(90.0)
    entry.hardware["device"] = "<script>alert(1)</script> & co"
    entry.write(tmp_path / "records" / entry.id)
    *_, path = write_report(tmp_path / "records", tmp_path, None)
    assert "<script>alert" not in path.read_text(encoding="utf-8")


def test_the_same_records_make_the_same_page(path, text):
    *_, again = write_report(path.parents[1] / "records", path.parents[1], None)
    assert again.read_text(encoding="utf-8") == text


def test_a_record_that_is_gone_changes_page_and_verdict(tmp_path):
    before = write(tmp_path).read_text(encoding="utf-8")
    assert "no loss within ±" in before
    assert "other text (bootstrap over stretches of 3,072 of 24,576 test words)" in before
    (gone,) = (tmp_path / "records").rglob("wikitext2-seed1-stabilitystable")
    shutil.rmtree(gone)
    *_, path = write_report(tmp_path / "records", tmp_path, None)
    after = path.read_text(encoding="utf-8")
    assert gone.name in before
    assert gone.name not in after
    assert "no loss within ±" not in after
    assert re.search(r"undecided with 1 seed \(difference \+0\.0, ±\d\.\d over test words\)", after)


def test_claims_without_evidence_name_the_command(text):
    detailed = text.split('<article class="claim" id="C1">')[1].split("</section>")[0]
    assert detailed.count("not measured yet") == 2
    assert "analysis=gradient_horizon" in text


def test_the_overview_says_of_which_text_each_label_is(text):
    overview = text.split('<ul class="overview">')[1].split("</ul>")[0]
    for line in overview.split("</li>")[:-1]:
        subjects = re.findall(r'class="subject">([^<]+)<', line)
        assert len(subjects) == len(set(subjects))
        assert bool(subjects) == ("not measured yet" not in line)
        assert line.find('class="subject"') < line.find('class="label ')


def test_an_equation_in_a_verdict_is_not_broken_over_two_lines(text):
    told = "".join(re.findall(r'<ul class="verdict">(.*?)</ul>', text, re.DOTALL))
    assert "k\u00a0=\u00a0" in told
    assert not re.search(r"\b\w = \d", told)


# ---- in a browser


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; what it asks of the network and what it complains of is logged."""
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium is here: `apt-get install chromium chromium-driver` to try the page in a browser")
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not here: `make setup`")
    options = selenium.ChromeOptions()
    options.binary_location = binary
    for switch in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1440,900",
    ):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture
def opened(browser, path):
    """The page, all figures drawn."""
    browser.get_log("browser"), browser.get_log("performance")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get(path.as_uri())
    wait_for(browser, "return document.documentElement.dataset.drawn === 'true'")
    return browser


def wait_for(browser, script, seconds=20):
    end = time.monotonic() + seconds
    while not (found := browser.execute_script(script)):
        assert time.monotonic() < end, f"never true: {script}"
        time.sleep(0.05)
    return found


def point(browser, element, across=0.5, down=0.5):
    """The pointer goes to a place within an element."""
    from selenium.webdriver import ActionChains

    box = element.size
    return ActionChains(browser).move_to_element_with_offset(
        element, (across - 0.5) * box["width"], (down - 0.5) * box["height"]
    )


def test_the_page_draws_every_figure_without_error_or_network(opened):
    empty = opened.execute_script(
        "return [...document.querySelectorAll('figure .plot')].filter(plot => "
        "!plot.querySelector('svg .mark-line path[d], svg .mark-symbol path[d]') || "
        "plot.querySelector('svg').getBoundingClientRect().width < 200).length"
    )
    assert opened.execute_script("return document.querySelectorAll('figure .plot').length") >= 8
    assert empty == 0
    assert [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"] == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_pointing_at_a_figure_tells_the_nearest_point(opened):
    plot = opened.find_element("css selector", "figure[data-name^='truncation_wikitext2'] .plot")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", plot)
    point(opened, plot).perform()
    point(opened, plot, 0.52, 0.45).perform()
    told = wait_for(opened, "return document.querySelector('#vg-tooltip-element.visible')?.textContent")
    assert "curve" in told
    assert "undefined" not in told
    assert re.search(r"curve(un)?stable, (last k words|recurrent)k \(words\)\d", told)
    assert "perplexity" in told


def test_a_click_on_the_legend_takes_a_curve_away_and_brings_it_back(opened):
    figure = opened.find_element("css selector", "figure[data-name^='truncation_wikitext2']")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", figure)
    count = (
        "return document.querySelectorAll(\"figure[data-name^='truncation_wikitext2'] .mark-line path[d^='M']\").length"
    )
    before = opened.execute_script(count)
    button = figure.find_element("css selector", ".legend button")
    button.click()
    wait_for(opened, f"{count} < {before}")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    wait_for(opened, f"{count} === {before}")
    assert opened.execute_script(SWITCHED_OFF) == 0


def test_a_number_and_a_point_lead_to_their_runs(opened):
    link = next(a for a in opened.find_elements("css selector", "td a") if a.text == "90.5 ± 0.7")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", link)
    link.click()
    shown = opened.find_element("css selector", "dialog[open]")
    assert len(shown.find_elements("css selector", "details")) == 2
    for name in link.get_attribute("data-runs").split():
        assert name in shown.text
    shown.find_element("css selector", "button").click()
    assert not opened.find_elements("css selector", "dialog[open]")
    plot = opened.find_element("css selector", "figure[data-name^='truncation_sweep'] .plot")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", plot)
    # Around every point lies the area of which it is the nearest: a click goes there.
    point(opened, plot.find_element("css selector", ".mark-symbol path")).click().perform()
    assert "truncation.k=" in opened.find_element("css selector", "dialog[open] pre").get_attribute("textContent")


def test_a_telephone_scrolls_tables_and_not_the_page(opened):
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    opened.refresh()
    wait_for(opened, "return document.documentElement.dataset.drawn === 'true'")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 390
    # As drawn, not as shrunk to fit: letters keep their size.
    widest = "return Math.max(...[...document.querySelectorAll('.plot svg')].map(s => Number(s.getAttribute('width'))))"
    assert opened.execute_script(widest) <= 390


def test_dark_readers_get_a_dark_page(opened):
    colour = "return getComputedStyle(document.body).backgroundColor"
    seen = []
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        path = "document.querySelector(\"figure[data-name^='truncation_wikitext2'] .mark-line path\")"
        seen.append((opened.execute_script(colour), opened.execute_script(f"return getComputedStyle({path}).stroke")))
    assert seen[0] == ("rgb(253, 252, 249)", "rgb(213, 94, 0)")
    assert seen[1] == ("rgb(23, 24, 27)", "rgb(245, 139, 76)")
