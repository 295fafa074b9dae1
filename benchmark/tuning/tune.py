"""The command `tune`: train the trials of every method, choose its best setting, and write them as a suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tabulate import tabulate

from benchmark.experiment.origins import Origins
from benchmark.experiment.resolve import chosen_suite
from benchmark.experiment.run import Run
from benchmark.experiment.study import FOLDER, TRIAL_ORIGIN, Study
from benchmark.experiment.suite import suite_label
from benchmark.files import write_atomic, write_errors
from benchmark.report.formatting import MISSING, format_percent, format_value, slug
from benchmark.store import Store
from benchmark.sweep import runner
from benchmark.sweep.options import Options
from benchmark.tuning.spaces import parse_spaces
from benchmark.tuning.trials import Planned, plan_studies, study_labels
from benchmark.tuning.tuned_suite import check_expressible, check_target, suite_value, write_suite


def tune(
    runs: Sequence[Run], options: Options, trials: int, knobs: Sequence[str], seed: int, target: Path | None
) -> tuple[str, list[str]]:
    """Train `trials` settings for every method of the runs, which are judged on held-out images; write the best.

    knobs: spaces as --knob takes them; seed: of the settings; target: the suite's file, by default tuned-SUITE.yaml.
    Returns what to print, and a sentence for each run without a result.  Raises BadInput before anything is trained,
    and Stopped where a limit of the sweep ends it; the trials that are done then are not trained again.
    """
    suite, label = chosen_suite(options.suite, options.choices), suite_label(options.suite)
    judge = chosen_suite(options.suite, replace(options.choices, judge=None)).judge
    target = target or Path(f"tuned-{slug(Path(options.suite).stem)}.yaml")
    check_target(target)
    suite_value(suite, {})
    asked = parse_spaces(knobs, dict.fromkeys(run.method for run in runs))
    planned = plan_studies(runs, label, asked, trials, seed)
    check_expressible(suite, planned)
    everything = list({run.id: run for _, found in planned for trial in found for run in trial}.values())
    options = replace(options, origins=trial_origins(planned, options.origins))
    runner.make_plan(everything, options)  # what cannot be trained is said before a study is written
    studies = [study.model_copy(update={"judge": judge}) for study, _ in planned]
    keep_studies(studies, options.results)
    failed = runner.run(everything, options)
    scores = top1_scores(Store(options.results), studies)
    write_suite(target, suite, planned, scores)
    return f"{show(studies, scores)}\n\n{target} has the best settings; {next_command(target, options)}", failed


def trial_origins(planned: Sequence[Planned], known: Mapping[str, Origins]) -> dict[str, Origins]:
    """Run id -> the origin of each value; a trial's are those of the suite's run, except for the knobs it sets.

    known: the origins of the suite's runs, which are those of each study's trial 0.
    """
    found = dict(known)
    for study, (first, *others) in planned:
        for number, trial in enumerate(others, 1):
            changed = {f"knobs.{name}": f"trial {number} {TRIAL_ORIGIN}" for name in study.trials[number].values}
            for run, original in zip(trial, first, strict=True):
                found.setdefault(run.id, known.get(original.id, {}) | changed)
    return found


def keep_studies(studies: Sequence[Study], results: Path) -> None:
    """Write the studies' files, from which the report knows the trials."""
    folder = Path(results) / FOLDER
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for study in studies:
        write_atomic(folder / f"{study.name}.json", study.text().encode())


def top1_scores(store: Store, studies: Sequence[Study]) -> dict[str, float]:
    """Run id -> top-1 accuracy on held-out images, of the trials' runs that are done."""
    latest, ids = store.latest(), {id for study in studies for trial in study.trials for id in trial.ids}
    done = {id: latest[id].score for id in ids if id in latest and latest[id].status == "done"}
    return {id: score["top1"] for id, score in done.items() if score and score.get("top1") is not None}


def show(studies: Sequence[Study], scores: Mapping[str, float]) -> str:
    """A line for each study: trials, the suite's own values and the best ones, and the mean accuracy of both."""
    rows = []
    for study, label in zip(studies, study_labels(studies), strict=True):
        best = study.best(scores)
        numbers = (0, best if study.spaces else None)
        rows.append((label, len(study.trials), *(part for n in numbers for part in outcome(study, n, scores))))
    heads = ("method", "trials", "the suite's values", "held-out top-1", "best values", "held-out top-1 ")
    table = tabulate(rows, heads, disable_numparse=True)
    return f"{table}\nThe best of several settings looks better on the images that chose it than it is: {UNTOUCHED}"


UNTOUCHED = "the test images were not looked at."


def outcome(study: Study, number: int | None, scores: Mapping[str, float]) -> tuple[str, str]:
    """The values of a trial and its mean accuracy in percent, as text."""
    if number is None:
        return MISSING, MISSING
    trial = study.trials[number]
    known = [scores[id] for id in trial.ids if id in scores]
    values = ", ".join(f"{knob} {format_value(value)}" for knob, value in trial.values.items())
    return values or MISSING, format_percent(sum(known) / len(known)) if known else MISSING


def next_command(target: Path, options: Options) -> str:
    """How to go on: train them on fresh seeds, judged on the test images."""
    teachers = "".join(f" --teacher {name}={run.id}" for name, run in options.choices.teachers.items())
    return f"train them with `python -m benchmark run {target}{teachers}`"
