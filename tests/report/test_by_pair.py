"""Methods whose weights a suite sets by pair: one row, with the values of each pair, beside rows of other settings."""

import pytest
import yaml
from test_report import a_record, a_store

from benchmark.experiment.origins import origins
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.experiment.run import Run
from benchmark.report.paper_style import build_paper
from benchmark.report.records.by_pair import by_pair_sentences, cell_knobs, values_by_pair
from benchmark.report.records.entries import Entry, load_entries
from benchmark.report.records.labels import name_rows
from benchmark.report.records.protocols import protocols

PAIRS = ("resnet56-resnet20", "resnet32x4-resnet8x4", "resnet110-resnet20")
BETAS = dict(zip(PAIRS, (2, 8, 8), strict=True))  # the last is the default: the suite has no value for this pair


def records_of(suite="crd", **choices):
    """Records of a suite's students as training writes them; their top-1 is made up."""
    choices = Choices(**{"methods": ("dkd",), "pairs": PAIRS, "seeds": "0"} | choices)
    runs = load_suite(suite, choices)
    known = origins(runs, suite, choices)
    found = [a_record(run, 0.7 + place / 1000, suite=suite) for place, run in enumerate(runs)]
    for record in found:
        record.provenance["origin"] = known[record.id]
    return found


def entries_of(*groups):
    """The entries of records; the first record of a run counts."""
    by_id = {}
    for record in (record for group in groups for record in group):
        by_id.setdefault(record.id, record)
    return [Entry(Run.model_validate(record.run), record) for record in by_id.values()]


def table_of(entries, label=""):
    """Row's label -> pair -> beta, of the cells with runs; of the protocol whose label has this part."""
    (protocol,) = [each for each in protocols(entries) if label in each.label]
    found = {}
    for (row, pair), cell in protocol.cells.items():
        if row.kind == "method" and cell.entries:
            (beta,) = {entry.run.knobs["beta"] for entry in cell.entries}
            assert cell_knobs(cell)["beta"] == beta
            found.setdefault(row.label, {})[pair.name] = beta
    return found


def test_a_method_with_weights_by_pair_is_one_row_with_each_pairs_value():
    entries = entries_of(records_of())
    assert table_of(entries) == {"dkd": BETAS}
    (protocol,) = protocols(entries)
    (row,) = [row for row in protocol.rows if row.kind == "method"]
    found = {pair.name: values_by_pair(protocol.cells[row, pair]) for pair in protocol.pairs}
    assert found == {pair: {"beta": str(beta)} for pair, beta in BETAS.items()}
    assert by_pair_sentences(protocol) == ["dkd, beta by pair: 2 for resnet56-resnet20; 8 elsewhere."]
    assert "beta" not in row.knobs and row.varied == ()


def test_a_sentence_on_a_whole_suite_names_the_pairs_of_all_values_but_the_most_frequent_one():
    methods = ("dkd", "reviewkd")
    (protocol,) = protocols(entries_of(records_of(methods=methods, pairs=())))
    assert by_pair_sentences(protocol) == [
        "dkd, beta by pair: 2 for resnet56-resnet20, resnet110-resnet32; 6 for vgg13-MobileNetV2, vgg13-vgg8, "
        "wrn_40_2-wrn_16_2, wrn_40_2-wrn_40_1; 8 elsewhere.",
        "reviewkd, beta by pair: 0.6 for resnet56-resnet20; 1 for resnet110-resnet32; 8 for resnet32x4-ShuffleV2; "
        "5 elsewhere.",
    ]


def test_another_setting_of_the_user_on_one_pair_is_a_row_of_its_own():
    other = records_of(knobs=("dkd.beta=4",), pairs=PAIRS[:1])
    assert table_of(entries_of(records_of(), other)) == {
        "dkd, beta by pair": BETAS,
        "dkd, beta 4": {PAIRS[0]: 4},
    }


def test_a_users_setting_on_every_pair_is_one_row_though_the_suite_has_no_value_for_one_of_them():
    other = records_of(knobs=("dkd.beta=4",))
    assert table_of(entries_of(records_of(pairs=PAIRS[:2]), other)) == {
        "dkd, beta by pair": {pair: BETAS[pair] for pair in PAIRS[:2]},
        "dkd, beta 4": dict.fromkeys(PAIRS, 4),
    }
    assert table_of(entries_of(records_of(), other)) == {
        "dkd, beta by pair": BETAS,
        "dkd, beta 4": dict.fromkeys(PAIRS, 4),
    }


def test_a_pairs_value_that_the_user_had_set_before_the_suite_did_is_in_the_row():
    before = records_of(knobs=("dkd.beta=2",), pairs=PAIRS[:1])
    assert table_of(entries_of(before, records_of())) == {"dkd": BETAS}


def test_planned_runs_without_a_record_are_in_the_row():
    done, *planned = entries_of(records_of())
    assert table_of([done, *(Entry(entry.run) for entry in planned)]) == {"dkd": BETAS}


def test_several_seeds_and_teachers_are_in_the_row():
    assert table_of(entries_of(records_of(seeds="0-1", teacher_seeds="0-1"))) == {"dkd": BETAS}


def test_the_default_on_a_pair_with_a_value_of_its_own_is_another_row_and_under_other_epochs_it_is_not(tmp_path):
    plain = tmp_path / "plain.yaml"
    suite = {"title": "t", "dataset": "cifar100", "pairs": list(PAIRS), "methods": ["dkd"], "recipe": "crd240"}
    plain.write_text(yaml.safe_dump(suite))
    same, shorter = records_of(str(plain)), records_of(str(plain), epochs=30)
    entries = entries_of(records_of(), same, shorter)
    assert table_of(entries, "240 epochs") == {"dkd, beta by pair": BETAS, "dkd, beta 8": {PAIRS[0]: 8}}
    assert table_of(entries, "30 epochs") == {"dkd, beta by pair": dict.fromkeys(PAIRS, 8)}


def test_two_settings_of_a_suite_are_two_rows_by_pair(tmp_path):
    path = tmp_path / "two.yaml"
    suite = {"title": "t", "dataset": "cifar100", "pairs": list(PAIRS), "methods": ["dkd"], "recipe": "crd240"}
    suite |= {"knobs": {"dkd": [{"alpha": 1}, {"alpha": 3}]}, "pair_knobs": {PAIRS[0]: {"dkd": {"beta": 2}}}}
    path.write_text(yaml.safe_dump(suite))
    assert table_of(entries_of(records_of(str(path)))) == {"dkd, alpha 1": BETAS, "dkd, alpha 3": BETAS}


def test_without_values_by_pair_settings_on_different_pairs_are_different_rows():
    records = [*records_of("quick", pairs=PAIRS[:1]), *records_of("quick", pairs=PAIRS[1:], knobs=("dkd.beta=4",))]
    assert table_of(entries_of(records)) == {
        "dkd, beta 8": {PAIRS[0]: 8},
        "dkd, beta 4": dict.fromkeys(PAIRS[1:], 4),
    }


def test_rows_of_different_knobs_are_never_equal():
    """Runs of an older method, which had only the knobs that the row by pair has in common, keep their row."""
    entries = entries_of(records_of())
    run = entries[0].run
    old = run.model_copy(update={"seed": 7, "knobs": {k: v for k, v in run.knobs.items() if k != "beta"}})
    rows = name_rows([*entries, Entry(old, a_record(old))])
    assert len(set(rows.values())) == len({row.label for row in rows.values()})


@pytest.mark.parametrize("origin", [None, "text", {"knobs.beta": 5}, {"knobs.none": "suite a, pair b"}, {5: None}])
def test_an_odd_origin_in_a_record_is_no_obstacle(origin):
    records = records_of()
    records[0].provenance["origin"] = origin
    assert BETAS in table_of(entries_of(records)).values()


def test_the_table_of_a_paper_has_one_row(tmp_path):
    records = records_of(methods=("ce", "kd", "dkd", "ft"), seeds="0-1")
    store = a_store(tmp_path / "results", records)
    build_paper(store, tmp_path / "out", load_entries(store)[0])
    text = (tmp_path / "out" / "paper" / "crd-accuracy.md").read_text()
    labels = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert labels.count("dkd") == labels.count("ft") == 1 and not [each for each in labels if "dkd," in each]
