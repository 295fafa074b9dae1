"""Tests of the tables that papers print, and of the names of files: by suite."""

import csv
import io
import re
import shutil
import statistics
import subprocess

import pytest
from test_report import RECIPE, a_record, a_run, a_store

from benchmark.errors import BadInput
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.experiment.run import Run
from benchmark.experiment.suite import make_recipe, read_suite
from benchmark.report.build import build
from benchmark.report.paper_style import build_paper
from benchmark.report.records.entries import load_entries
from benchmark.report.records.names import departures, protocol_names, suite_keys
from benchmark.report.records.protocols import protocols, run_terms
from benchmark.report.statistics.families import top_two
from benchmark.report.tables.paper_formats import PREAMBLE

METHODS = ("ce", "kd", "hint", "sp", "lsh", "at", "rkd", "crd")
STATUSES = {"lsh": "adapted", "at": "re-derived"}


def made_up(run, place):
    """A top-1 that differs between pairs, methods and seeds, without any randomness."""
    level = 0.70 + place % 13 / 200 + METHODS.index(run.method) / 250
    return level + ((7 * place + 5 * run.seed + 3 * len(run.method)) % 11) / 2000


def suite_records(suite="crd", methods=METHODS, **choices):
    """Records of a whole suite with these methods, teachers included."""
    runs = load_suite(suite, Choices(methods=methods, **choices))
    places = {name: place for place, name in enumerate(dict.fromkeys(str(run.student) for run in runs))}
    found = {}
    for run in runs:
        for each in filter(None, (run.teacher, run)):
            top1 = 0.78 if each is run.teacher else made_up(each, places[run.student] + len(places) * bool(run.teacher))
            about = f"A method.  Nobody, 2020.\n\nStatus: {STATUSES.get(each.method, 'exact')}\nDepartures: none."
            found.setdefault(each.id, a_record(each, top1, suite=suite, about=about))
    return list(found.values())


@pytest.fixture(scope="session")
def crd(tmp_path_factory):
    """(Store, folder of the report) of the whole suite `crd` in the style of a paper."""
    root = tmp_path_factory.mktemp("crd")
    store = a_store(root / "results", suite_records())
    build_paper(store, root / "out", load_entries(store)[0])
    return store, root / "out"


def contents(crd, suffix, name="crd"):
    """The text of the suite's table in a format."""
    return (crd[1] / "paper" / f"{name}-accuracy.{suffix}").read_text()


def grids(text):
    """The grids of a Markdown text: a list of rows of cells each."""
    parts = re.findall(r"(?:^\|.*\n)+", text, re.M)
    return [
        [[cell.strip() for cell in line.strip("|\n").split("|")] for k, line in enumerate(part.splitlines()) if k != 1]
        for part in parts
    ]


def top1_by_cell(records):
    """(Teacher's network, student's network, method) -> top-1 of its seeds, read from the records alone."""
    runs = [(Run.model_validate(record.run), record.score["top1"]) for record in records]
    networks = dict.fromkeys((run.teacher.student, run.student) for run, _ in runs if run.teacher)
    return {
        (teacher, student, method): [
            top1
            for run, top1 in runs
            if (run.student, run.method) == (student, method)
            and (run.teacher.student == teacher if run.teacher else method == "ce")
        ]
        for teacher, student in networks
        for method in METHODS
    }


# ---- what the table says
def test_pairs_are_in_the_suites_order_with_teacher_and_student_on_two_lines(crd):
    same, across = grids(contents(crd, "md"))
    pairs = [str(pair) for pair in read_suite("crd").pairs]
    assert [f"{t}-{s}" for t, s in zip(same[0][1:-1], same[1][1:-1], strict=True)] == pairs[:7]
    assert [f"{t}-{s}" for t, s in zip(across[0][1:-2], across[1][1:-2], strict=True)] == pairs[7:]
    assert (same[1][-1], across[1][-2:]) == ("Average", ["Average", "All pairs"])
    assert (same[0][0], same[1][0]) == ("Teacher", "Student")


def test_teacher_and_student_come_first_and_methods_after_them(crd):
    for grid in grids(contents(crd, "md")):
        names = [row[0] for row in grid[2:]]
        assert names == ["teacher", "student", "at‡", "crd", "hint", "kd", "lsh†", "rkd", "sp"]


def test_numbers_are_means_over_seeds_and_averages_over_pairs(crd):
    scores = top1_by_cell(suite_records())
    lines = list(csv.DictReader(io.StringIO(contents(crd, "csv"))))
    means = {}
    for line in lines:
        method = {"student": "ce"}.get(line["row"], line["row"])
        if line["teacher"] and line["row"] != "teacher":
            expected = 100 * statistics.mean(scores[line["teacher"], line["student"], method])
            assert float(line["top1_percent"]) == pytest.approx(expected, abs=1e-5)
            means.setdefault((line["families"], method), []).append(expected)
    assert len(means) == 2 * len(METHODS)
    for method in METHODS:
        same, across = means["Same family", method], means["Across families", method]
        shown = {
            (line["families"], line["student"]): float(line["top1_percent"])
            for line in lines
            if not line["teacher"] and {"student": "ce"}.get(line["row"], line["row"]) == method
        }
        expected = {("Same family", "Average"): same, ("Across families", "Average"): across}
        expected["Across families", "All pairs"] = same + across
        assert shown == pytest.approx({key: statistics.mean(values) for key, values in expected.items()}, abs=1e-5)


def test_the_best_of_a_column_is_bold_and_the_second_underlined_in_every_format(crd):
    latex = contents(crd, "tex")
    for grid in grids(contents(crd, "md")):
        for column in range(1, len(grid[0])):
            cells = {row[0].strip("†‡"): row[column].split(" ")[0] for row in grid[2:]}
            numbers = {name: float(re.sub(r"[^\d.]", "", cell)) for name, cell in cells.items() if name != "teacher"}
            first, second, *_ = sorted(numbers, key=numbers.get, reverse=True)
            assert cells[first] == f"**{numbers[first]:.2f}**" and cells[second] == f"<u>{numbers[second]:.2f}</u>"
            assert sum("*" in cell for cell in cells.values()) == sum("<u>" in cell for cell in cells.values()) == 1
            assert rf"\bfseries {numbers[first]:.2f}" in latex and rf"\underline{{{numbers[second]:.2f}}}" in latex
    standings = [line["standing"] for line in csv.DictReader(io.StringIO(contents(crd, "csv")))]
    assert standings.count("best") == standings.count("second") == 13 + 3


def test_equal_means_share_their_place():
    assert top_two({"a": 0.5, "b": 0.5, "c": 0.4, "d": 0.1}) == ({"a", "b"}, {"c"})
    assert top_two({"a": 0.5}) == ({"a"}, set()) and top_two({}) == (set(), set())


def test_the_difference_to_a_published_number_stands_beside_it(crd):
    same, _ = grids(contents(crd, "md"))
    (kd,) = [row for row in same if row[0] == "kd"]
    column = 1 + [str(pair) for pair in read_suite("crd").pairs].index("resnet56-resnet20")
    ours = float(kd[column].split(" ")[0].strip("*<u>/"))
    assert kd[column].endswith(f"({ours - 70.66:+.2f})")  # table 1 of the CRD paper
    assert "Small: minus the number published by CRD (1910.10699), in points." in contents(crd, "md")
    (lsh,) = [row for row in same if row[0] == "lsh†"]
    assert "(" not in "".join(lsh)  # nobody printed one


def test_a_number_of_another_recipe_is_not_compared(tmp_path):
    store = a_store(tmp_path / "results", suite_records(epochs=12, pairs=("resnet56-resnet20",)))
    (path,) = build_paper(store, tmp_path, load_entries(store)[0], formats=("md",))
    assert path.name == "crd-12-epochs-accuracy.md"
    (grid,) = grids(path.read_text())
    assert "published" not in path.read_text() and "(" not in "".join(cell for row in grid for cell in row)


def test_marks_and_their_legend_are_in_every_format(crd):
    assert "\n† adapted.\n" in contents(crd, "md") and "\n‡ re-derived.\n" in contents(crd, "md")
    assert r"lsh\smash{\textsuperscript{\dag{}}} & " in contents(crd, "tex")
    assert r"\dag{}~adapted. \ddag{}~re-derived." in contents(crd, "tex")
    lines = csv.DictReader(io.StringIO(contents(crd, "csv")))
    found = {(line["row"], line["mark"], line["legend"]) for line in lines if line["mark"]}
    assert found == {("lsh", "†", "† adapted."), ("at", "‡", "‡ re-derived.")}


def test_single_runs_have_nothing_in_bold_and_the_table_says_so(tmp_path):
    store = a_store(tmp_path / "results", suite_records("mini", seeds="0"))
    (path,) = build_paper(store, tmp_path, load_entries(store)[0], formats=("md",))
    text = path.read_text()
    assert "single runs" in text and "Nothing is bold" in text and "**" not in text and "<u>" not in text


def test_a_method_that_failed_has_a_dash_and_no_average(tmp_path):
    records = suite_records(pairs=("resnet56-resnet20", "vgg13-vgg8"))
    failed = [
        record.model_copy(update={"status": "failed", "score": {}, "error": {"type": "Failed", "message": "no"}})
        if (record.run["method"], record.run["student"]) == ("kd", "vgg8")
        else record
        for record in records
    ]
    store = a_store(tmp_path / "results", failed)
    paths = build_paper(store, tmp_path, load_entries(store)[0])
    (grid,) = grids(paths[0].read_text())
    (kd,) = [row for row in grid if row[0] == "kd"]
    assert kd[2:] == ["–", "–"] and re.fullmatch(r"\d\d\.\d\d \(.*\)", kd[1])
    assert r"{\textendash}" in paths[2].read_text()


# ---- LaTeX
@pytest.fixture
def pages(tmp_path):
    """A function that compiles tables and returns the log and the number of pages; skips without pdflatex."""
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed")

    def run(text, options=""):
        source = [rf"\documentclass[{options}]{{article}}", PREAMBLE, r"\begin{document}", text, r"\end{document}"]
        (tmp_path / "paper.tex").write_text("\n".join(source))
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
        for _ in range(2):  # longtable settles its widths in the second pass
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
            assert done.returncode == 0, done.stdout[-2000:]
        return done.stdout, int(re.search(r"Output written on paper\.pdf \((\d+) page", done.stdout)[1])

    return run


@pytest.mark.parametrize("options", ["", "a4paper,twocolumn"])
def test_the_table_of_thirteen_pairs_compiles_to_one_page(crd, pages, options):
    output, count = pages(contents(crd, "tex"), options)
    assert count == 1 and "Overfull" not in output and "too large" not in output
    assert r"\begin{table*}" in contents(crd, "tex") and contents(crd, "tex").isascii()


def test_numbers_are_in_columns_of_siunitx(crd):
    columns = re.search(r"\\begin\{tabular\}\{(.*)\}", contents(crd, "tex"))[1]
    assert columns == "l" + r"S[table-format=2.2]@{\,}>{\tiny}l" * 8


def test_a_long_table_runs_over_several_pages(tmp_path, pages):
    recipe, plain = read_suite("crd").recipe, a_run("ce", 0, "resnet56", None, recipe=read_suite("crd").recipe)
    runs = [
        a_run("kd", seed, teacher=plain, recipe=recipe, knobs={"alpha": alpha / 100})
        for alpha in range(70)
        for seed in (0, 1)
    ]
    records = [a_record(run, 0.6 + run.knobs["alpha"] / 10 + run.seed / 100, suite="crd") for run in runs]
    store = a_store(tmp_path / "results", records)
    (path,) = build_paper(store, tmp_path, load_entries(store)[0], formats=("tex",))
    assert r"\begin{longtable}" in path.read_text()
    output, count = pages(path.read_text())
    assert count == 2 and "Overfull" not in output


# ---- names of files, by suite
def names_of(root, records):
    """The names of the protocols of these records, in order of the name."""
    return sorted(protocol.slug for protocol in protocols(load_entries(a_store(root, records))[0]))


def test_files_of_a_suite_are_called_by_it_and_by_what_departs_from_its_recipe(tmp_path):
    cases = {
        "mini": {},
        "mini-fp32": {"precision": "fp32"},
        "mini-3-epochs": {"epochs": 3},
        "mini-holdout": {"judge": "holdout"},
        "mini-cifar10-1-epoch": {"dataset": "cifar10", "epochs": 1},
    }
    for name, choices in cases.items():
        assert names_of(tmp_path / name, suite_records("mini", ("ce", "kd"), **choices)) == [name]
    assert names_of(tmp_path, [r for c in cases.values() for r in suite_records("mini", ("ce", "kd"), **c)]) == sorted(
        cases
    )


def test_a_suite_of_several_data_sets_names_each(tmp_path):
    records = suite_records("lp", ("ce", "kd"), seeds="0")
    assert names_of(tmp_path, records) == ["lp-cifar10", "lp-cifar100"]


def test_the_teachers_epochs_in_proportion_are_no_departure_of_their_own():
    (own,) = suite_keys("digits")
    assert departures(own, [own]) == []
    students, teachers = (make_recipe({"base": "crd240", "epochs": n, "flip": False}) for n in (15, 20))
    (run,) = load_suite("digits", Choices(methods=("kd",), epochs=15, seeds="0"))
    assert (run.recipe, run.teacher.recipe) == (students, teachers)
    assert departures((run_terms(run), run_terms(run.teacher)), [own]) == ["15 epochs"]
    assert departures((run_terms(run), own[1]), [own]) == ["students-15 epochs"]


def test_a_name_stays_when_later_records_of_any_suite_arrive(tmp_path):
    def at(day, records):
        return [r.model_copy(update={"provenance": r.provenance | {"ended": f"2026-03-{day:02}"}}) for r in records]

    first = at(1, suite_records("lsh", ("ce", "kd"), seeds="0"))
    later = at(2, suite_records("crd", ("ce", "kd", "sp"), seeds="1"))
    other = at(3, suite_records("lsh", ("ce", "kd"), seeds="0", precision="fp32"))
    assert names_of(tmp_path / "a", first) == ["lsh"]
    assert names_of(tmp_path / "b", [*first, *later]) == ["lsh"]
    assert names_of(tmp_path / "c", [*later, *first, *other]) == ["lsh", "lsh-fp32"]


def test_runs_of_a_file_or_of_no_suite_have_names_too(tmp_path):
    runs = [a_run("kd"), a_run("kd", recipe=RECIPE.with_epochs(4), teacher=a_run("ce", 0, "resnet56", None))]
    mine = [a_record(run, suite="folder/mine.yaml", ended=f"2026-03-0{k}") for k, run in enumerate(runs, 1)]
    assert names_of(tmp_path / "a", mine[:1]) == ["mine"]
    first, second = names_of(tmp_path / "b", mine)
    assert first == "mine" and second.startswith("mine-students-4-epochs")
    nobody = [a_record(run, suite=None) for run in runs]
    assert all(name.startswith("cifar100-") for name in names_of(tmp_path / "c", nobody))


def test_no_two_protocols_have_one_name():
    one = ((("dataset", "cifar100"), ("judge", "test"), ("epochs", "2"), ("batch", "64")),) * 2
    other = (one[0], (*one[1], ("schedule.at", "1")))
    names = protocol_names({one: [], other: []})
    assert len(set(names.values())) == 2 and all(name.startswith("cifar100-2-epochs") for name in names.values())


# ---- the command
def test_the_paper_style_and_the_report_leave_each_others_files_alone(run_cli, tmp_path):
    store, out = a_store(tmp_path / "results", suite_records("mini", ("ce", "kd", "sp"))), tmp_path / "out"
    build(store, out, formats=("md",))
    before = {path: path.read_bytes() for path in (out / "tables").iterdir()}
    done = run_cli("report", "--results", store.root, "--out", out, "--style", "paper", "--suite", "mini")
    assert (done.code, done.out.count("\n")) == (0, 3) and str(out / "paper" / "mini-accuracy.tex") in done.out
    assert {path: path.read_bytes() for path in (out / "tables").iterdir()} == before
    build(store, out, formats=("md",))
    assert {path.name for path in (out / "paper").iterdir()} == {f"mini-accuracy.{end}" for end in ("md", "csv", "tex")}


def test_a_table_of_the_paper_style_that_is_not_written_any_more_is_removed(tmp_path):
    store = a_store(tmp_path / "a", suite_records("mini", ("ce", "kd")))
    build_paper(store, tmp_path, load_entries(store)[0], formats=("md",))
    other = a_store(tmp_path / "b", suite_records("digits", ("ce", "kd")))
    build_paper(other, tmp_path, load_entries(other)[0], suite="digits", formats=("md",))
    assert {path.name for path in (tmp_path / "paper").iterdir()} == {"mini-accuracy.md", "digits-accuracy.md"}
    build_paper(other, tmp_path, load_entries(other)[0], formats=("md",))
    assert {path.name for path in (tmp_path / "paper").iterdir()} == {"digits-accuracy.md"}


def test_a_suite_file_that_is_given_sets_the_order(tmp_path):
    text = "title: Mine\ndataset: cifar100\npairs: [vgg13-vgg8, resnet56-resnet20]\nmethods: [ce, sp, kd]\n"
    (tmp_path / "mine.yaml").write_text(text + "recipe: crd240\n")
    records = suite_records("crd", ("ce", "kd", "sp"), pairs=("resnet56-resnet20", "vgg13-vgg8"))
    label = str(tmp_path / "mine.yaml")
    renamed = [r.model_copy(update={"provenance": r.provenance | {"suite": "mine.yaml"}}) for r in records]
    store = a_store(tmp_path / "results", renamed)
    (path,) = build_paper(store, tmp_path, load_entries(store)[0], suite=label, formats=("md",))
    (grid,) = grids(path.read_text())
    assert path.name == "mine-accuracy.md"
    assert grid[0][1:3] == ["vgg13", "resnet56"] and [row[0] for row in grid[2:]] == ["teacher", "student", "sp", "kd"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--style", "thesis"], "--style is full or paper, not 'thesis'"),
        (["--suite", "crd"], "--suite does not go with --style full"),
        (["--style", "paper", "--baseline", "kd"], "--baseline does not go with --style paper"),
        (["--style", "paper", "--format", "svg"], "--format: 'svg' is not written with --style paper"),
        (["--style", "paper", "--suite", "sp"], "no runs of 'sp' with a teacher to tabulate; its records are of: crd"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_sentence(run_cli, crd, tmp_path, arguments, sentence):
    done = run_cli("report", "--results", crd[0].root, "--out", tmp_path / "reports", *arguments)
    assert done.code == 2 and sentence in done.err and done.err.count("\n") == 1


def test_records_without_a_teacher_have_no_table(tmp_path):
    store = a_store(tmp_path / "results", [a_record(a_run("ce", teacher=None), 0.7)])
    with pytest.raises(BadInput, match="no runs with a teacher to tabulate"):
        build_paper(store, tmp_path / "out", load_entries(store)[0])


def test_equal_records_give_equal_bytes_whatever_the_order(crd, tmp_path):
    store = a_store(tmp_path / "results", suite_records()[::-1])
    for path in build_paper(store, tmp_path, load_entries(store)[0]):
        assert path.read_bytes() == (crd[1] / "paper" / path.name).read_bytes()


# ---- marks in the report's own tables
def test_the_reports_tables_have_marks_and_legend_in_every_text_format(tmp_path):
    store = a_store(tmp_path / "results", suite_records("mini", ("ce", "kd", "lsh", "at"), seeds="0"))
    build(store, tmp_path / "out", formats=("md", "csv", "tex"))
    table = {end: (tmp_path / f"out/tables/mini-accuracy.{end}").read_text() for end in ("md", "csv", "tex")}
    assert re.search(r"\| at‡ ", table["md"]) and re.search(r"\| lsh, variant l2† ", table["md"])
    assert "† adapted. ‡ re-derived." in table["md"] and r"\dag{} adapted. \ddag{} re-derived." in table["tex"]
    assert "at\\ddag{} & " in table["tex"]
    marks = {line["row"]: line["mark"] for line in csv.DictReader(io.StringIO(table["csv"]))}
    assert marks["at"] == "‡" and marks["kd"] == marks["teacher"] == "" and marks["lsh, variant l2"] == "†"
