"""Build the sections on tuning from the studies that `tune` writes to results/tuning, one for each protocol."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.experiment.study import Study
from benchmark.report.figures.studies.sensitivity import sensitivity_figure
from benchmark.report.formatting import slug
from benchmark.report.page.render import Extra
from benchmark.report.records.entries import Entry
from benchmark.report.records.studies import group_studies
from benchmark.report.tables.tuning import tuning_table

INTRO = (
    "Knobs tuned on images held out of the training set, never on test images; one call of `tune` gives every method "
    "equally many trials. Trials are in no other table of this report; each is a record like any other."
)


def tuning_sections(studies: Sequence[Study], entries: Sequence[Entry]) -> list[Extra]:
    """The sections of all protocols that have a study with a result."""
    sections = []
    for group in group_studies(studies, entries):
        figure = sensitivity_figure(group)
        tables, figures = [tuning_table(group, entries)], [figure] if figure else []
        title = f"Tuning · {group.title}"
        sections.append(Extra(title, slug(title), INTRO, tables, figures))
    return sections
