"""The page: the answer first, whole in one file, every number with its runs, and alive in a browser."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report import curve, record, swept
from test_verdicts import contracting, in_blocks, measured

from stablernn.report.answer import answer
from stablernn.report.contents import chapters
from stablernn.report.evidence import gather
from stablernn.report.judgement import Judgement, Outcome
from stablernn.report.page import _spans, page
from stablernn.report.write import write_report
from stablernn.utils.files import write_json

LIMIT = 1_500_000  # bytes
HEIGHT = 12_000  # pixels, before a reader opens anything
COMMITTED = Path(__file__).parents[1] / "results" / "report" / "index.html"
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}


def write_evidence(results: Path) -> None:
    """Records of every kind with their analyses."""
    source = results / "records" / "paper"
    distance = {"options": {"reference": 65}, "updates": [0, 9], "reference_moved": [0.0, 2.0], "distance": [0.0, 0.5]}
    entries = [
        in_blocks(record(value, stability=s, seed=n), 0.02)
        for s in ("unstable", "stable")
        for n, value in enumerate((90.0, 91.0, 92.0))
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


def write(results: Path) -> Path:
    """The page made of all that."""
    write_evidence(results)
    *_, path = write_report(results / "records", results, None)
    return path


@pytest.fixture(scope="module")
def path(report):
    return report / "report" / "index.html"


@pytest.fixture(scope="module")
def text(path):
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("which", ["made", "committed"])
def test_the_page_is_one_file_that_fetches_nothing(path, which):
    path = path if which == "made" else COMMITTED
    assert [other.name for other in path.parent.iterdir()] == ["index.html"]
    assert path.stat().st_size <= LIMIT
    text = path.read_text(encoding="utf-8")
    assert not re.search(
        r"<(?:script|img|iframe|source|video|object|embed|image|use)\b[^>]*\b(?:src|data|href)\s*=", text
    )
    assert not re.search(r"<link\b(?![^>]*href=\"data:)", text)
    assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest|import\(|\beval\(", text)
    linked = set(re.findall(r"https?://[^\s\"'<>\\]+", text))
    assert all(link.startswith("https://arxiv.org/") for link in linked)
    assert "default-src 'none'" in text


@pytest.mark.parametrize("which", ["made", "committed"])
def test_the_page_answers_first(path, which):
    text = (path if which == "made" else COMMITTED).read_text(encoding="utf-8")
    first, rest = text.split('<div id="first">')[1].split("<main>")
    order = ["<h1>Do recurrent models", '<ul class="answer">', "<table>", '<figure data-name="answer_']
    places = [first.find(part) for part in order if which == "committed" or part != "<table>"]
    assert min(places) >= 0
    assert places == sorted(places)
    sentences = re.findall(r"<li>(.+?)</li>", first.split("</ul>")[0], re.DOTALL)
    assert len(sentences) == 3
    assert all(re.search(r"\w\. (?:<a href=\"#C\d\">C\d</a> ?)+$", sentence) for sentence in sentences)
    assert first.count("<figure ") == 1
    assert rest.lstrip().startswith('<section id="verdicts">')
    if which == "committed":
        assert all(head in first for head in (">published<", ">baseline<", "▲", "▼"))


def test_every_claim_is_a_row_with_its_details_folded(text):
    section = text.split('<section id="verdicts">')[1].split("</section>")[0]
    claims = section.split('<details class="claim" id="')[1:]
    assert [claim[:2] for claim in claims] == [f"C{n}" for n in range(1, 9)]
    for claim in claims:
        row, details = claim.split("</summary>", 1)
        assert 'class="label' in row
        assert "Uncertainty" not in row
        assert "Uncertainty" in details or "would tell" in details
    assert not re.search(r"<details[^>]*\bopen\b", text)


def test_the_answer_names_each_task_once_by_a_verdict_on_trained_models():
    def judged(subject, outcome):
        return Judgement(f"{subject}, profile `cpu`", "at cpu", outcome, "", ("x",), "", "", ())

    first, second, third = (
        sentence
        for _, sentence in answer(
            {
                "C1": [judged("A", Outcome.UNTRAINED), judged("A", Outcome.FAILS), judged("B", Outcome.HOLDS)],
                "C2": [judged("A", Outcome.HOLDS), judged("A", Outcome.FAILS)],
                "C3": [],
                "C4": [judged(name, Outcome.MIXED) for name in "ABC"],
            }
        )
    )
    assert first == "Stability comes without loss on B, not on A."
    assert second.startswith("A stable model scores the same by its last inputs alone on A; an unconstrained one does")
    assert second.endswith("does on no task so far, in part on A, B and C.")
    assert third.endswith("(not measured yet).")
    beside = [replace(judged(name, how), otherwise=name != "C") for name, how in zip("ABC", Outcome, strict=False)]
    said, *_ = (text for _, text in answer({"C1": beside, "C2": [], "C3": [], "C4": []}))
    free, _, other = said.partition("; ")
    assert free == "Stability comes without loss on A, in part on C, not on B"
    assert other == "under other certified conditions on B too."


def test_a_quick_look_is_linked_where_there_is_more(tmp_path):
    def chapters(*records):
        for entry in records:
            entry.write(tmp_path / "records" / entry.id)
        *_, path = write_report(tmp_path / "records", tmp_path, None)
        text = path.read_text(encoding="utf-8")
        return text.split('<details class="chapter" id="perplexity">')[1].split('<details class="chapter"')[0]

    small = record(91.0, profile="quick")
    small.id = "small"
    assert "perplexity_wikitext2_quick.csv" in (alone := chapters(small))
    assert "<table>" in alone
    beside = chapters(record(90.0))
    assert "perplexity_wikitext2_quick.csv" in beside
    assert beside.count("<table>") == 1
    assert 'aria-label="Test perplexity on WikiText-2, profile `paper`"' in beside


def test_every_record_is_on_the_page_with_what_it_was_made_of(path, text):
    ids = [json.loads(file.read_text())["id"] for file in path.parents[1].rglob("record.json")]
    assert len(ids) == 14
    for name in ids:
        assert f'<span class="id">{name}</span>' in text
    headed = [int(count) for count in re.findall(r'<details class="runs">\n<summary>.+\((\d+)\)</span>', text)]
    assert len(headed) > 1
    assert sum(headed) == len(re.findall(r' id="r\d+"', text))
    (group,) = (part for part in text.split('<details class="runs">')[1:] if f">{ids[0]}<" in part)
    before, after = group.split(f'<span class="id">{ids[0]}</span>')
    _, of_a_cell, cell = before.rpartition('<details class="cell">')
    said = [before.split("</dl>")[0], cell.split("</dl>")[0] if of_a_cell else "", after.split("</details>")[0]]
    for fact in (
        "a processor, threads 2",
        "abc",
        "1 s",
        "<dt>model.hidden_size<dd>200",
        "2 epochs, 10 updates",
    ):
        times = [fact in part for part in said]
        assert sum(times) == 1, "what all share is said once"


def test_seeds_stand_together_each_with_its_address_and_other_settings_apart(tmp_path):
    for n, (value, rate) in enumerate([(90.0, 1.0), (91.0, 1.0), (92.0, 1.0), (93.0, 2.0)]):
        entry = record(value, seed=n, optimizer__lr=rate)
        entry.id = f"wikitext2-lstm-unstable-recurrent-k35-s{n}-0000000{n}"
        entry.write(tmp_path / "records" / entry.id)
    *_, path = write_report(tmp_path / "records", tmp_path, None)
    runs = path.read_text(encoding="utf-8").split('id="runs"')[1]
    together, alone = runs.split('<details class="run"')[1:]
    assert re.findall(r'<dt id="r(\d)">seed (\d)<dd>0000000(\d), test perplexity (\d+)', together) == [
        ("0", "0", "0", "90"),
        ("1", "1", "1", "91"),
        ("2", "2", "2", "92"),
    ]
    assert alone.startswith(' id="r3"')
    assert "s3-00000003" in alone


def test_every_number_of_the_perplexity_table_leads_to_its_runs(text):
    table = text.split('aria-label="Test perplexity on WikiText-2, profile `paper`"')[1].split("</table>")[0]
    assert re.search(r'<th scope="col"[^>]*>published</th>', table)
    row = re.search(r'<tr data-runs="([^"]+)">(?:(?!</tr>).)*<a href="#r(\d+)">91\.0 ± 1\.0</a>', table)
    assert row, "its number has the runs of its row"
    assert len(numbered(row[1])) == 3
    assert int(row[2]) in numbered(row[1])
    known = set(map(int, re.findall(r' id="r(\d+)"', text)))
    assert {number for ids in re.findall(r'data-runs="([^"]+)"', text) for number in numbered(ids)} <= known


def numbered(spans):
    """The sources that data-runs names."""
    ends = [span.split("-") for span in spans.split()]
    return [number for first, *last in ends for number in range(int(first), int(*last or [first]) + 1)]


@given(st.lists(st.integers(0, 30), unique=True))
def test_the_sources_behind_a_number_are_all_named(numbers):
    assert numbered(_spans(numbers)) == numbers


def test_names_from_records_are_text_and_never_markup(tmp_path):
    entry = record(90.0)
    entry.hardware["device"] = "<script>alert(1)</script> & co"
    entry.write(tmp_path / "records" / entry.id)
    *_, path = write_report(tmp_path / "records", tmp_path, None)
    assert "<script>alert" not in path.read_text(encoding="utf-8")


def page_of(results: Path) -> str:
    evidence = gather(results / "records", results)
    return page(evidence, chapters(evidence))


def test_the_same_records_make_the_same_page(path, text):
    assert page_of(path.parents[1]) == text


def test_a_record_that_is_gone_changes_page_and_verdict(tmp_path):
    write_evidence(tmp_path)
    before = page_of(tmp_path)
    assert "(3 of 10 seeds): " in before
    assert "too few seeds" not in before
    (gone,) = (tmp_path / "records").rglob("wikitext2-seed1-stabilitystable")
    shutil.rmtree(gone)
    after = page_of(tmp_path)
    assert gone.name in before
    assert gone.name not in after
    assert "undecided, too few seeds (2 of 10 seeds)" in after


def test_claims_without_evidence_name_the_command(text):
    claim = text.split('<details class="claim" id="C5">')[1].split('<details class="claim"')[0]
    assert claim.count("not measured yet") == 2
    assert "analysis=gradient_horizon" in claim


def test_a_row_says_of_which_text_each_label_is(text):
    for row in re.findall(r'<span class="labels">(.*?)</summary>', text):
        assert row.count('class="subject"') == row.count('class="label ') - row.count("not measured yet")
        assert re.match(r'<span class="(?:pill|label absent)"', row)


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
    """The page on a desk, nothing opened."""
    browser.get_log("browser"), browser.get_log("performance")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get(path.as_uri())
    return browser


def open_all(browser):
    browser.execute_script("document.querySelectorAll('details').forEach(one => { one.open = true })")


def test_every_figure_is_there_without_error_or_network(opened):
    open_all(opened)
    empty = opened.execute_script(
        "return [...document.querySelectorAll('figure .plot')].filter(plot => "
        "!plot.querySelector('svg [clip-path] path[d]') || "
        "plot.querySelector('svg').getBoundingClientRect().width < 200).length"
    )
    assert opened.execute_script("return document.querySelectorAll('figure .plot').length") >= 8
    assert empty == 0
    assert [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"] == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.parametrize("size", [{**PHONE, "width": 1440, "height": 900, "mobile": False}, PHONE])
def test_the_first_screen_holds_question_answer_table_and_figure(browser, size):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(COMMITTED.as_uri())
    ends = "return ['h1', '.answer', '#study table', '#first figure svg'].map(name => "
    ends += "document.querySelector(name).getBoundingClientRect()).map(box => [box.top, box.bottom])"
    for top, bottom in browser.execute_script(ends):
        assert 0 <= top < bottom <= size["height"]
    assert browser.execute_script("return document.documentElement.scrollHeight") <= HEIGHT
    assert browser.execute_script("return document.documentElement.scrollWidth") <= size["width"]
    heads = "return [...document.querySelectorAll('#study th')].map(th => [th.textContent, "
    heads = dict(browser.execute_script(f"{heads}th.getBoundingClientRect().right])"))
    assert max(heads["unstable"], heads["stable"]) <= size["width"], "what is compared is on the screen"
    hidden = "const table = document.querySelector('#study .scroll'); return table.scrollWidth - table.clientWidth"
    assert size["mobile"] or browser.execute_script(hidden) <= 0, "a desk has room for all columns"
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('.claim > summary .label')].map(label => label.getBoundingClientRect())"
        ".map(box => [box.left, box.top, box.right, box.bottom])"
    )
    for n, (left, top, right, bottom) in enumerate(boxes):
        assert right <= size["width"]
        for other in boxes[n + 1 :]:
            apart = other[0] >= right + 4 or other[2] + 4 <= left or other[1] >= bottom + 4 or other[3] + 4 <= top
            assert apart, "pills do not touch"


def test_a_link_opens_what_it_leads_to(opened):
    link = opened.find_element("css selector", ".answer a")
    link.click()
    support = pytest.importorskip("selenium.webdriver.support.wait")
    # The browser reports the click before it has handled the new address.
    support.WebDriverWait(opened, 10).until(
        lambda page: page.execute_script("return document.getElementById('C1').open")
    )


def test_a_number_leads_to_its_runs_with_what_they_share(opened):
    open_all(opened)
    link = next(a for a in opened.find_elements("css selector", "td a") if a.text == "91.0 ± 1.0")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", link)
    link.click()
    shown = opened.find_element("css selector", "dialog[open]")
    runs = shown.find_elements("css selector", "details")
    assert len(runs) == 3
    assert all("model.hidden_size" in run.get_attribute("textContent") for run in runs)
    names = [run.find_element("css selector", ".id").get_attribute("textContent") for run in runs]
    assert len(set(names)) == 3
    assert all(name in shown.text for name in names)
    shown.find_element("css selector", "button").click()
    assert not opened.find_elements("css selector", "dialog[open]")


def test_a_telephone_scrolls_tables_and_not_the_page(opened):
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    opened.refresh()
    open_all(opened)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= 390
    # Hardly shrunk to fit: letters keep their size.
    shrunk = "return Math.min(...[...document.querySelectorAll('.plot svg')].map(s => "
    shrunk += "s.getBoundingClientRect().width / s.viewBox.baseVal.width))"
    assert opened.execute_script(shrunk) > 0.8


def test_dark_readers_get_a_dark_page(opened):
    colour = "return getComputedStyle(document.body).backgroundColor"
    seen = []
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        path = "document.querySelector('#first [clip-path] path[stroke=\"var(--unstable)\"]')"
        seen.append((opened.execute_script(colour), opened.execute_script(f"return getComputedStyle({path}).stroke")))
    assert seen[0] == ("rgb(253, 252, 249)", "rgb(213, 94, 0)")
    assert seen[1] == ("rgb(23, 24, 27)", "rgb(245, 139, 76)")
