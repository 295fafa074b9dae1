"""How the table of tuning says whether the order of methods survives it, against counts written out by hand."""

from itertools import combinations

import pandas as pd
import pytest

from benchmark.report.tables.tuning import order_sentences


def lines(scores, pair="big-small"):
    """The CSV's lines of rows with these (held-out as published, tuned, test as published, tuned)."""
    found = []
    for row, (held_out, tuned_held_out, test, tuned_test) in scores.items():
        found.append({"pair": pair, "row": row, "held_out_top1": held_out, "test_top1": test})
        found.append({"pair": pair, "row": row, "held_out_top1": tuned_held_out, "test_top1": tuned_test})
    return pd.DataFrame(found)


def tau_b(scores):
    """Kendall's tau-b by its definition, pair by pair."""
    signs = [((a > b) - (a < b), (c > d) - (c < d)) for (a, c), (b, d) in combinations(scores, 2)]
    same = sum(first * second for first, second in signs)
    untied = [sum(each[place] != 0 for each in signs) for place in (0, 1)]
    return same / (untied[0] * untied[1]) ** 0.5


def test_pairs_of_methods_that_change_places_are_counted():
    scores = {"a": (0.4, 0.5, None, None), "b": (0.5, 0.6, None, None), "c": (0.45, 0.7, None, None)}
    (sentence,) = order_sentences(lines(scores))
    # published: a c b; tuned: a b c: of three pairs only b and c change places, so tau is (2 - 1) / 3
    assert sentence == (
        "big-small, held-out images: of the 3 pairs of the 3 tuned rows, tuning reverses 1 "
        "(Kendall’s tau between both orders 0.33)."
    )


def test_tau_is_that_of_its_definition_where_methods_tie():
    held_out = [(0.40, 0.52), (0.45, 0.52), (0.45, 0.50), (0.47, 0.49), (0.50, 0.60)]
    table = lines({f"m{place}": (*pair, 0.1 * place, 0.1 * place) for place, pair in enumerate(held_out)})
    first, second = order_sentences(table)
    assert f"both orders {tau_b(held_out):.2f})" in first and "test images" not in first
    assert "test images: of the 10 pairs of the 5 tuned rows, tuning reverses 0" in second and "orders 1.00" in second


def test_means_that_differ_by_rounding_alone_are_equal():
    third = (0.1 + 0.2 + 0.3) / 3
    scores = {"a": (0.2, 0.5, None, None), "b": (third, 0.4, None, None), "c": (0.3, 0.6, None, None)}
    assert third != 0.2 and "tuning reverses 0 " in order_sentences(lines(scores))[0]


@pytest.mark.parametrize("rows", [1, 2])
def test_fewer_than_three_methods_have_no_order(rows):
    assert order_sentences(lines({f"m{row}": (0.1 * row, 0.2, 0.3, 0.4) for row in range(rows)})) == []


def test_a_method_without_a_tuned_accuracy_does_not_count():
    scores = {"a": (0.1, 0.2, 0.3, None), "b": (0.2, 0.3, 0.4, 0.5), "c": (0.3, 0.4, 0.5, 0.6)}
    assert [text.split(":")[0] for text in order_sentences(lines(scores))] == ["big-small, held-out images"]


def test_one_accuracy_for_all_has_no_tau():
    (sentence,) = order_sentences(lines({name: (0.5, 0.1 * place, None, None) for place, name in enumerate("abc")}))
    assert sentence.endswith("tuning reverses 0.")
