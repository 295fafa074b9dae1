"""Tests of the page: in a browser, opened from disk without network, by mouse and keyboard; and of its parts."""

import json
import re
import shutil
import zlib
from base64 import b64decode
from html.parser import HTMLParser

import pytest
from test_report import NASTY, RECIPE, a_cost, a_record, a_run, a_store

from benchmark.report.build import build
from benchmark.report.page.render import equation, page_caption, render, sort_value
from benchmark.report.page.run_details import MAX_POINTS, details, details_json, origin
from benchmark.report.page.sections import Extra, Section
from benchmark.report.records.entries import load_entries
from benchmark.report.records.protocols import protocols
from benchmark.report.tables.table import Table, TableCell, TableLine

ORIGIN = {"dataset": "suite quick", "student": "suite quick", "method": "--methods", "seed": "--seeds"}
ORIGIN |= {"teacher": "suite quick", "judge": "default", "recipe.lr": "suite quick", "recipe.schedule": "recipe crd"}
ORIGIN |= {"knobs.alpha": "--set"}
ACCURACY = "section:first-of-type .table:has(h3[id$='-accuracy']) table.wide"
TOP = {"ce": 0.68, "kd": 0.7, "sp": 0.71, "hint": 0.69, NASTY: 0.6}
PAIRS = ({}, {"student": "ShuffleV1", "teacher": "resnet32x4"})
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CELL = "section:first-of-type table.wide td[data-runs] button"


def page_records():
    """Records of two pairs with three seeds, failures, a method named like a script tag, and origins for kd only."""
    found = []
    for pair in PAIRS:
        for method, top1 in TOP.items():
            for seed in range(3):
                own = {"teacher": None} if method == "ce" else {}
                knobs = {"knobs": {"alpha": 0.9}} if method == "kd" else {}
                record = a_record(a_run(method, seed, **pair | own | knobs), top1 + seed / 1000)
                made = record.provenance | ({"origin": ORIGIN} if method == "kd" else {})
                found.append(record.model_copy(update={"provenance": made}))
        found += [a_record(a_run("fitnets", seed, **pair), status="diverged") for seed in range(2)]
    return found


def records_in_two_precisions(teacher):
    """Records of students in two protocols, whose teacher's kept file was computed in bf16 and in fp32."""
    for setting, precision, top1 in (("auto", "bf16", 0.7481), ("fp32", "fp32", 0.7476)):
        recipe = RECIPE.model_copy(update={"precision": setting})
        record = a_record(a_run("kd", teacher=teacher, recipe=recipe), 0.7)
        made = {"precision": precision, "teacher": {"id": teacher.id, "top1": top1}}
        yield record.model_copy(update={"provenance": record.provenance | made})


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The path of the page of these records."""
    root = tmp_path_factory.mktemp("page")
    return build(a_store(root / "results", page_records()), root / "out")


@pytest.fixture(scope="module")
def handmade_page(tmp_path_factory):
    """The path of a page with a table that has a selector, and a table with a quoted number."""
    root = tmp_path_factory.mktemp("hand")
    entries, _ = load_entries(a_store(root / "results", page_records()))
    (protocol,) = protocols(entries)
    rows = [(a, b) for a in TOP for b in TOP if a != b]
    lines = tuple(TableLine(a, (TableCell(b), TableCell(f"{100 * (TOP[a] - TOP[b]):+.2f}")), "a pair") for a, b in rows)
    differences = Table(
        "comparisons", "Differences", "c", ("against", "difference"), lines, None, selector=("against", ("kd", "ce"))
    )
    quoted = Table(
        "quoted", "Printed <there>", "c", ("raw",), (TableLine("x", (TableCell("0.62", quoted=True),)),), None
    )
    path = root / "index.html"
    extra = Extra("Claims & others", "claims", "An introduction.", (quoted,))
    path.write_text(render([Section(protocol, (differences,), ())], entries, [], [extra]))
    return path


# ---- the browser
@pytest.fixture(scope="module")
def browser():
    """An installed Chromium; skips the test without one."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM)
        yield found
        found.close()


@pytest.fixture
def visit(browser):
    """A function that opens a page from disk without network; then checks that there was no request or message."""
    contexts, messages, requests, visited = [], [], [], []

    def go(path, width=1200, scripts=True, hash="", **more):
        context = browser.new_context(offline=True, viewport={"width": width, "height": 900}, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda fault: messages.append(str(fault)))
        page.on("dialog", lambda alert: (messages.append(alert.message), alert.accept()))
        page.on("request", lambda request: requests.append(request.url))
        visited.append(path.as_uri())
        page.goto(path.as_uri() + hash)
        requests[:] = [url for url in requests if url.partition("#")[0] != path.as_uri()]
        if scripts:
            page.wait_for_selector("html.lively")
        return page

    yield go
    for context in contexts:
        context.close()
    assert not messages
    beside = tuple(f"{page.rpartition('/')[0]}/figures/" for page in visited)  # without scripts, pictures from disk
    assert not [url for url in requests if not url.startswith(("data:", *beside))]


def column(page, table, place):
    """The texts of a column from top to bottom, without small print."""
    cells = page.locator(f"{table} tbody tr > :nth-child({place})").all()
    return [cell.evaluate("cell => cell.cloneNode(true).innerText").split("n =")[0].strip() for cell in cells]


def wait_until_sorted(page, table, direction):
    """Wait until a table is sorted in a direction ("" for unsorted): DataTables sorts a moment after the click."""
    page.wait_for_selector(f"{table} th[aria-sort={direction}]" if direction else f"{table}:not(:has(th[aria-sort]))")


@pytest.mark.browser
def test_the_page_opens_from_disk_without_network_and_names_stay_text(visit, report):
    page = visit(report)
    assert page.title() == "Knowledge distillation, measured"
    assert page.locator("table.dataTable").count() == page.locator("main table").count() > 2
    assert NASTY in page.inner_text("main") and page.locator("main script").count() == 0


@pytest.mark.browser
def test_a_column_sorts_by_its_numbers_and_teacher_and_plain_student_stay_on_top(visit, report):
    page = visit(report)
    table = ACCURACY
    before = column(page, table, 2)
    assert before[0] == "73.45"  # the teacher's, from its students' records
    orders = []
    for direction in ("descending", "ascending", ""):
        page.locator(f"{table} thead th").nth(1).click()
        wait_until_sorted(page, table, direction)
        orders.append(column(page, table, 2))
    numbers = [float(text.split()[0]) for text in orders[0][2:-1]]
    assert numbers == sorted(numbers, reverse=True) and orders[0][-1].startswith("diverged")
    assert orders[1] == orders[0][:2] + orders[0][-2:1:-1] + orders[0][-1:] and orders[2] == before
    assert all(order[:2] == before[:2] for order in orders)  # teacher and plain student stay on top


@pytest.mark.browser
def test_teacher_and_plain_student_stay_on_top_of_a_grouped_table_while_one_pair_is_shown(visit, report):
    page = visit(report)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    table = "section:first-of-type .table:has(h3[id$='-quality'])"
    page.locator(f"{table} select").first.select_option("resnet56-resnet20")
    page.locator(f"{table} thead th", has_text="last epoch").click()
    wait_until_sorted(page, table, "descending")
    assert column(page, table, 1) == ["student (ce)", "sp", "kd", "hint", NASTY]
    page.locator(f"{table} thead th", has_text="last epoch").click()
    wait_until_sorted(page, table, "ascending")
    assert column(page, table, 1) == ["student (ce)", NASTY, "hint", "kd", "sp"]


@pytest.mark.browser
def test_a_teachers_dialog_lists_its_accuracy_in_each_precision_and_at_the_end_of_training(visit, tmp_path):
    teacher = a_run("ce", 0, "resnet56", None)
    records = [a_record(teacher, 0.7477, about="Status: exact"), *records_in_two_precisions(teacher)]
    page = visit(build(a_store(tmp_path / "results", records), tmp_path / "out"))
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    cells = page.locator("main table.wide").get_by_role("row", name="teacher").locator("td button")
    shown = [cell.inner_text() for cell in cells.all() if re.fullmatch(r"[\d.]+", cell.inner_text())]
    assert sorted(set(shown)) == ["74.76", "74.81"]
    for cell in (cells.first, cells.last):
        cell.click()
        line = " ".join(page.locator("dialog[open] table").first.inner_text().split())
        for text in ("74.81 kept file, computed in bf16", "74.76 kept file, computed in fp32"):
            assert text in line
        assert "74.77 at the end of its training" in line
        page.keyboard.press("Escape")


@pytest.mark.browser
def test_a_part_of_a_step_says_its_time_and_a_click_on_the_rows_name_hides_it(visit, tmp_path):
    runs = [a_run("ce", teacher=None), a_run("kd")]
    records = [*(a_record(run, 0.7) for run in runs), *map(a_cost, runs)]
    page = visit(build(a_store(tmp_path / "results", records), tmp_path / "out"))
    figure = page.locator("figure[data-figure$='-split']")
    figure.scroll_into_view_if_needed()
    figure.locator("svg").wait_for()
    titles = figure.locator("[data-row=kd] > title").all_text_contents()
    assert titles == [
        f"kd: {each} of 17 ms" for each in ("plain student’s step 10", "teacher’s forward 5", "method’s own 2")
    ]
    bar = figure.locator("[data-row=kd]:not(:has(text))").first
    figure.locator("[data-row=kd] text").first.click()
    assert bar.evaluate("node => getComputedStyle(node).display") == "none"


@pytest.mark.browser
def test_the_dialog_lists_the_attempts_that_do_not_count(visit, tmp_path):
    records = [a_record(a_run(), top1) for top1 in (0.70, 0.75)]
    page = visit(build(a_store(tmp_path / "results", records), tmp_path / "out"))
    page.locator(CELL).last.click()
    text = page.locator("dialog").inner_text()
    assert f"another attempt, not counted: {a_run().id}-2, 75.00 %" in text and f"{a_run().id}-1" in text


@pytest.mark.browser
def test_a_column_sorts_by_keyboard(visit, report):
    page = visit(report)
    button = page.locator(f"{ACCURACY} thead [role=button]").nth(1)
    button.focus()
    page.keyboard.press("Enter")
    wait_until_sorted(page, ACCURACY, "descending")


@pytest.mark.browser
def test_a_filter_keeps_the_lines_that_contain_the_word(visit, report):
    page = visit(report)
    rows = page.locator(f"{ACCURACY} tbody tr")
    every = rows.count()
    page.locator("section:first-of-type .tools input").first.fill("sp")
    assert column(page, ACCURACY, 1) == ["sp"]
    assert page.locator("section:first-of-type .tools output").first.inner_text() == f"1 of {every} lines"
    page.locator("section:first-of-type .tools input").first.fill("no such word")
    assert rows.inner_text() == "no line has it"


@pytest.mark.browser
def test_grouped_lines_become_one_table_with_a_column_of_pairs_to_select_from(visit, report):
    page = visit(report)
    table = page.locator("table.long").first
    chosen = "resnet32x4-ShuffleV1"
    box = page.locator(".table", has=table).locator("select")
    box.first.select_option(chosen)
    pairs = table.locator("tbody tr > :nth-child(2)").all_inner_texts()
    assert set(pairs) == {chosen}
    assert table.locator("thead th").nth(1).inner_text() == "pair"


@pytest.mark.browser
def test_a_cell_opens_its_runs_by_keyboard_and_escape_returns_to_it(visit, report):
    page = visit(report)
    cell = page.locator("main").get_by_role("row", name="kd").first.locator("td button").nth(1)
    cell.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    text, values = dialog.inner_text(), dialog.get_by_role("region", name="Values").inner_text()
    assert "kd · resnet56-resnet20" in text
    for seed in range(3):
        name = f"{a_run('kd', seed, knobs={'alpha': 0.9}).id}-1"
        line = dialog.get_by_role("region", name="Runs").get_by_role("row", name=f"seed {seed}")
        assert name in line.inner_text() and f"{70 + seed / 10:.2f}" in line.inner_text()
        assert line.get_by_role("img").get_attribute("aria-label").endswith(" % in 6 epochs")
    assert "python -m benchmark run quick -p resnet56-resnet20 -m kd --seeds 0,1,2 --again" in text
    for line in ("knobs.alpha 0.9 --set", "recipe.schedule.at 3, 5 recipe crd", "recipe.lr 0.05 suite quick"):
        assert line in [" ".join(words.split()) for words in values.splitlines()]
    assert "abcdef1234567890" in text and "a device" in text and "2.7.0" in text
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert cell.evaluate("button => button === document.activeElement")


@pytest.mark.browser
def test_the_dialog_shows_a_failures_message_and_that_old_records_have_no_origins(visit, report):
    page = visit(report)
    page.locator("main").get_by_role("row", name="fitnets").first.locator("td button").first.click()
    text = page.locator("dialog[open]").inner_text()
    assert "diverged" in text and "the loss is not finite" in text and "not recorded" in text


@pytest.mark.browser
def test_a_figure_enlarges_to_the_windows_width_and_escape_closes_it(visit, report):
    page = visit(report, width=1600)
    page.locator("figure .files button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog[open] svg").bounding_box()["width"] > 1200
    page.keyboard.press("Escape")
    page.locator("figure svg").first.click()
    assert page.locator("dialog[open] svg").is_visible()


@pytest.mark.browser
def test_the_baseline_can_be_selected_and_is_kd_at_first(visit, handmade_page):
    page = visit(handmade_page)
    box = page.get_by_role("combobox", name="against")
    assert box.input_value() == "kd"
    assert set(column(page, "table.long", 2)) == {"kd"}
    box.select_option("sp")
    assert set(column(page, "table.long", 2)) == {"sp"}
    assert column(page, "table.long", 1) == [method for method in TOP if method != "sp"]
    page.locator("table.long thead th").nth(2).click()
    wait_until_sorted(page, "table.long", "descending")
    assert column(page, "table.long", 3) == ["-1.00", "-2.00", "-3.00", "-11.00"]


@pytest.mark.browser
def test_the_first_screen_has_the_board_and_the_figure_and_its_findings(visit, report):
    page = visit(report, width=1600)
    for part in (".board table", ".findings ol", ".headline svg"):
        box = page.locator(part).first.bounding_box()
        assert box["y"] < 900 and box["x"] + box["width"] <= 1600, part
    assert page.locator(".findings li").count() == 2  # costs were not measured


@pytest.mark.browser
def test_another_baseline_moves_the_forest_and_the_first_one_brings_the_drawn_figure_back(visit, report):
    page = visit(report, width=1600)
    figure = page.locator(".headline figure")
    assert figure.locator("b").inner_text() == "Differences to kd."
    drawn = figure.locator("svg").first.evaluate("svg => svg.outerHTML.length")
    box = page.locator(".table:has(h3[id$='-comparisons'])").first.get_by_role("combobox", name="against")
    box.select_option("sp")
    assert figure.locator("b").inner_text() == "Differences to sp."
    panels = figure.locator("svg")
    assert panels.count() == len(PAIRS)
    marks = panels.first.locator("g[data-row=kd] title").all_text_contents()
    assert marks[0].startswith("kd: -1.00 points") and len(marks) == 1 + 3  # the mean, and a dot for each seed
    box.select_option("kd")
    page.wait_for_function("document.querySelector('.headline figure svg text').textContent !== ''")
    assert figure.locator("svg").first.evaluate("svg => svg.outerHTML.length") == drawn


@pytest.mark.browser
def test_a_click_on_a_name_hides_its_marks_and_another_one_shows_them(visit, report):
    page = visit(report, width=1600)
    figure = page.locator(".headline figure")
    name, mark = figure.locator("[data-row=sp]:has(text)").first, figure.locator("[data-row=sp]:not(:has(text))").first
    assert mark.evaluate("node => getComputedStyle(node).display") != "none"
    name.locator("text").first.click()
    assert mark.evaluate("node => getComputedStyle(node).display") == "none"
    name.locator("text").first.click()
    assert (
        mark.evaluate("node => getComputedStyle(node).display") != "none" and page.locator("dialog[open]").count() == 0
    )


@pytest.mark.browser
def test_an_address_leads_to_a_tables_order_and_baseline_and_to_an_open_cell(visit, report):
    page = visit(report)
    table = page.locator(".table:has(h3[id$='-comparisons'])").first
    table.get_by_role("combobox", name="against").select_option("sp")
    table.locator("thead th", has_text="difference").first.click()
    page.wait_for_function("location.hash.includes('sort=')")
    table.locator("td[data-runs] button").first.click()
    page.wait_for_function("location.hash.includes('cell=')")
    title, hash = page.locator("dialog[open] h2").inner_text(), page.evaluate("location.hash")
    other = visit(report, hash=hash)
    other.wait_for_selector("dialog[open]")
    there = other.locator(".table:has(h3[id$='-comparisons'])").first
    assert there.get_by_role("combobox", name="against").input_value() == "sp"
    assert there.locator("th[aria-sort]").inner_text().strip() == "difference"
    assert other.locator("dialog[open] h2").inner_text() == title


@pytest.mark.browser
def test_a_tables_text_can_be_copied_in_each_format(visit, report):
    page = visit(report, permissions=["clipboard-read", "clipboard-write"])
    files = page.locator(".table:has(h3[id$='-accuracy'])").first.locator(".files")
    for place, link in enumerate(files.locator("a").all()):
        button = files.locator("button").nth(place)
        button.click()
        page.wait_for_function("button => button.textContent === 'copied'", arg=button.element_handle())
        expected = (report.parent / link.get_attribute("href")).read_text()
        assert page.evaluate("navigator.clipboard.readText()") == expected
    assert place == 2


@pytest.mark.browser
def test_a_wide_table_keeps_its_head_and_first_column_in_view_and_shows_that_it_scrolls(visit, report):
    page = visit(report, width=360)
    box = page.locator(".scroll:has(table.long)").first
    assert "more" in box.get_attribute("class")
    before = box.bounding_box()["x"]
    box.evaluate("node => node.scrollTo(node.scrollWidth, 60)")
    first = box.locator("tbody tr:not([hidden]) > th").nth(3).bounding_box()
    assert abs(first["x"] - before) < 3
    assert abs(box.locator("thead th").first.bounding_box()["y"] - box.bounding_box()["y"]) < 3
    page.wait_for_function("node => !node.classList.contains('more')", arg=box.element_handle())


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_nothing_is_wider_than_the_window(visit, report, width):
    page = visit(report, width=width)
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) <= width
    page.locator(CELL).first.click()
    box = page.locator("dialog[open]").bounding_box()
    assert page.evaluate(wide) <= width and box["x"] >= 0 and box["x"] + box["width"] <= width
    inner = page.locator("dialog[open] .inner")
    assert inner.evaluate("node => node.scrollWidth <= node.clientWidth")


LINES = """text => {
  const box = text.getBoundingClientRect(), style = getComputedStyle(text);
  return Math.round(box.height / parseFloat(style.lineHeight));
}"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1000, 1600])
def test_captions_show_two_lines_at_most_and_a_button_shows_the_rest(visit, report, width):
    page = visit(report, width)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    captions = page.locator("main .caption .text")
    counts = captions.evaluate_all(f"texts => texts.map({LINES})")
    assert len(counts) > 10 and set(counts) <= {1, 2}
    caption = page.locator("section:first-of-type .table .caption").first
    caption.get_by_role("button", name="more").click()
    assert caption.locator(".text").evaluate(LINES) > 2 and caption.get_by_role("button", name="less").is_visible()
    caption.get_by_role("button", name="less").click()
    assert caption.locator(".text").evaluate(LINES) == 2


@pytest.mark.browser
def test_without_scripts_captions_are_whole(visit, report):
    page = visit(report, 1000, scripts=False, java_script_enabled=False)
    assert max(page.locator("main .caption .text").evaluate_all(f"texts => texts.map({LINES})")) > 2


@pytest.mark.browser
def test_the_page_is_dark_if_the_reader_prefers_it(visit, report):
    shades = {}
    for scheme in ("light", "dark"):
        page = visit(report, color_scheme=scheme)
        for part in ("backgroundColor", "color"):
            value = page.evaluate(f"getComputedStyle(document.body).{part}")
            shades[scheme, part] = sum(map(int, re.findall(r"\d+", value)[:3]))
    assert shades["light", "backgroundColor"] > 600 and shades["light", "color"] < 200
    assert shades["dark", "color"] > 600 and shades["dark", "backgroundColor"] < 200


@pytest.mark.browser
def test_without_scripts_the_tables_are_shown_and_there_are_no_controls(visit, report):
    page = visit(report, scripts=False, java_script_enabled=False)
    assert page.locator("main table tbody tr").count() > 10
    assert page.locator("main button:visible, main input:visible").count() == 0
    assert "A column’s head sorts" not in page.inner_text("body")


# ---- parts of the page
class Scripts(HTMLParser):
    """The (attributes, text) of a page's scripts."""

    def __init__(self, page):
        super().__init__()
        self.found, self.open = [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.open = tag == "script"
        if self.open:
            self.found.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.found[-1] = (self.found[-1][0], self.found[-1][1] + data)


def unpacked(text):
    """The page's data, its parts unpacked."""
    data = json.loads(text)
    return data | {name: zlib.decompress(b64decode(data[name])).decode() for name in ("runs", "texts")}


def test_the_page_has_its_data_and_one_module_and_no_other_script(report):
    (data, details_text), (module, code) = Scripts(report.read_text()).found
    assert (data, module) == ({"type": "application/json", "id": "told"}, {"type": "module"})
    assert json.loads(unpacked(details_text)["runs"])["runs"] and code.count("const LIBRARY") == 1
    assert "MIT" in report.read_text()[:20_000]


def test_the_data_contains_no_tags(tmp_path):
    records = [a_record(a_run("</script>"), 0.7), a_record(a_run("<!--"), 0.7)]
    text = details_json(protocols(load_entries(a_store(tmp_path, records))[0]))
    assert not set("<>&") & set(text)
    assert {run["label"] for run in json.loads(text)["runs"].values()} == {"</script>", "<!--"}


def test_a_value_has_the_origin_of_the_closest_enclosing_value():
    origins = {"recipe.schedule": "recipe crd", "teacher": "suite mini"}
    assert origin("recipe.schedule.at", origins) == "recipe crd"
    assert origin("teacher.recipe.lr", origins) == "suite mini"
    assert origin("recipe.lr", origins) == "–" and origin("recipe.lr", {}) == "not recorded"


def test_a_teachers_values_have_the_origins_in_its_own_record(tmp_path):
    teacher = a_record(a_run("ce", 0, "resnet56", None), 0.73)
    teacher = teacher.model_copy(
        update={"provenance": teacher.provenance | {"origin": {"recipe.lr": "recipe of teachers"}}}
    )
    student = a_record(a_run("kd"), 0.7)
    student = student.model_copy(update={"provenance": student.provenance | {"origin": ORIGIN}})
    found = details(protocols(load_entries(a_store(tmp_path, [teacher, student]))[0]))
    values = {
        path: (value, source) for path, value, source in found["lists"][found["runs"][f"{student.id}-1"]["values"]]
    }
    assert values["teacher.recipe.lr"] == ("0.05", "recipe of teachers")
    assert values["teacher.student"] == ("resnet56", "suite quick") and values["teacher.id"][0] == teacher.id


def test_long_curves_are_thinned_and_keep_their_ends(tmp_path):
    curve = [epoch / 1000 for epoch in range(240)]
    record = a_record(a_run(), 0.239, curve={"top1": curve})
    (run,) = details(protocols(load_entries(a_store(tmp_path, [record]))[0]))["runs"].values()
    assert (run["curve"][0], run["curve"][-1], run["epochs"]) == (0, 2390, 240)
    assert len(run["curve"]) <= MAX_POINTS + 1 and run["curve"][1] == 10 * run["every"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("73.45 ± 0.20", 73.45), ("−1.20", -1.2), ("278 k", 278e3), ("41 M", 41e6), ("3.10 ×", 3.1), ("1,234", 1234)),
        *(("33.5 MiB", 33.5e6), ("< 0.001", 0.001), ("–", None), ("not run", None), ("kd", None), ("5 ms", 5)),
    ],
)
def test_cells_are_sorted_by_the_number_at_their_beginning(text, value):
    assert sort_value(TableCell(text)) == value


def test_a_caption_on_the_page_begins_with_what_is_its_own_and_loses_no_sentence():
    shared, own = "Scored on the test images; n = 3 runs per cell.", "Means of 0.5 %. Bold: best."
    for text in (f"{shared} {own}", f"a suite · 2 epochs. {shared} {own}"):
        table = Table("t", "Accuracy · a suite · 2 epochs", text, (), (), None)
        assert page_caption(table) == f"{own} {shared}"
    assert page_caption(Table("t", "Speed", "No judge.", (), (), None)) == "No judge."


def test_a_methods_equation_is_the_indented_text_of_its_docstring():
    about = "Title.\n\nWords.\n\n    L = a\n      + b\n\nStatus: exact\n\n    c = d"
    assert equation(about) == "L = a\n  + b\n\nc = d" and equation("Title.") == ""


def test_extra_sections_are_on_the_page_and_in_its_contents(handmade_page):
    page = handmade_page.read_text()
    assert '<a href="#claims">Claims &amp; others</a>' in page
    assert "Printed &lt;there&gt;" in page and "<em>0.62</em>" in page


def test_methods_are_linked_to_their_notes_and_marked_by_their_status(tmp_path):
    about = {"kd": "Status: exact", "sp": "Status: adapted (see below)", "lp": "Status: re-derived", "x": "No word."}
    records = [a_record(a_run(method), 0.7, about=f"Title.\n\n{rest}") for method, rest in about.items()]
    page = build(a_store(tmp_path / "results", records), tmp_path / "out").read_text()
    for method, mark in {"kd": "", "sp": "†", "lp": "‡", "x": "§"}.items():
        assert re.search(rf'href="#method-{method}"[^>]*>{method}</a>{f"<sup>{mark}</sup>" if mark else "</th>"}', page)
        assert f'<article id="method-{method}">' in page
    assert "† adapted. ‡ re-derived. § of another status, or of none." in page
