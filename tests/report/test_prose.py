"""FINDINGS.md: people write the prose, the report writes the tables between its marks."""

import pandas as pd
import pytest

from benchmark.report.build import build
from benchmark.report.tables.prose import END, fill_tables
from benchmark.report.tables.table import Table, TableCell, TableLine
from benchmark.store import Store

LINES = (TableLine("kd", (TableCell("70.7"), TableCell("3"))),)
TABLES = {"crd-x": Table("crd-x", "Title", "Caption.", ("ours %", "n"), LINES, pd.DataFrame())}


def block(name, body="old\n"):
    """A block of a table, as a page has it."""
    return f"<!-- table {name} -->\n{body}{END}\n"


def test_a_block_gets_its_table_and_the_prose_around_it_stays():
    text, complaints = fill_tables(f"# Before\n\n{block('crd-x')}\nafter, <b>by hand</b>\n", TABLES)
    assert text.startswith("# Before\n\n<!-- table crd-x -->\n") and text.endswith(f"{END}\n\nafter, <b>by hand</b>\n")
    assert "| kd" in text and "70.7" in text and "Caption." in text and "old" not in text and complaints == []


def test_a_filled_page_is_filled_again_without_a_change():
    once, _ = fill_tables(block("crd-x") + block("crd-x: n", ""), TABLES)
    assert fill_tables(once, TABLES) == (once, [])


def test_named_columns_are_shown_in_the_order_they_are_named_in():
    text, _ = fill_tables(block("crd-x: n, ours %"), TABLES)
    assert [cell.strip() for cell in text.splitlines()[4].strip("|").split("|")] == ["method", "n", "ours %"]
    assert "70.7" not in fill_tables(block("crd-x: n"), TABLES)[0]


@pytest.mark.parametrize(
    "name, sentence",
    [("mini-x", "this report has no table 'mini-x'"), ("crd-x: m", "table crd-x has no column 'm'")],
)
def test_a_block_whose_table_or_column_is_missing_says_so_in_the_page_and_on_the_terminal(name, sentence):
    text, complaints = fill_tables(block(name), TABLES)
    assert complaints == [sentence] and sentence in text and "old" not in text


def test_a_block_without_an_end_is_left_as_it_is_and_reported():
    unfinished = "<!-- table crd-x -->\nprose that is not lost\n"
    text, complaints = fill_tables(unfinished + block("crd-x"), TABLES)
    assert text.startswith(unfinished) and "70.7" in text
    assert complaints == [f"1 block of a table without the line {END}"]


def test_a_report_fills_the_page_that_lies_in_its_folder_and_makes_none(tmp_path):
    build(Store(tmp_path / "results"), tmp_path / "empty")
    assert not (tmp_path / "empty" / "FINDINGS.md").exists()
    page, said = tmp_path / "full" / "FINDINGS.md", []
    page.parent.mkdir()
    page.write_text(block("mini-accuracy"))
    build(Store(tmp_path / "results"), page.parent, warn=said.extend)
    assert "this report has no table 'mini-accuracy'" in page.read_text()
    assert said == [f"{page}: this report has no table 'mini-accuracy'"]
    build(Store(tmp_path / "results"), page.parent, formats=["csv"])
    assert page.exists()


def test_a_page_that_is_not_utf8_is_left_as_it_is(tmp_path):
    page, said = tmp_path / "FINDINGS.md", []
    page.write_bytes(b"caf\xe9")
    build(Store(tmp_path / "results"), tmp_path, warn=said.extend)
    assert page.read_bytes() == b"caf\xe9" and said == [f"{page} is not UTF-8; it is left as it is: save it in UTF-8"]
