"""The figure of a method's sensitivity to its tuned knobs: accuracy on held-out images against each knob's value."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmark.experiment.study import Space
from benchmark.report.figures.style import (
    BACKGROUND,
    COLOURS,
    FOREGROUND,
    MARKERS,
    RenderedFigure,
    render_figure,
)
from benchmark.report.records.studies import StudyGroup, TunedMethod
from benchmark.report.statistics.summary import LEVEL, Summary, summarise

MAX_COLUMNS = 3  # panels side by side
PANEL_WIDTH, PANEL_HEIGHT = 3.0, 2.3  # inches
LEGEND_WIDTH = 6.0  # inches that a line of the legend needs
CAPTION = (
    "Top-1 accuracy after the last epoch on images held out of the training set, for every trial that has a result; "
    f"bars: {100 * LEVEL:g} % interval of the mean over seeds, where there are several. Star: the suite’s value, the "
    "author’s unless the suite says otherwise. Ring: the best mean over pairs and seeds. Dashed: the mean of the "
    "student without a teacher, where it was trained. Where several knobs of a method were tuned together, each panel "
    "shows all trials against one of them, without a line."
)


def sensitivity_figure(group: StudyGroup) -> RenderedFigure | None:
    """The figure of a group of studies: a panel for each tuned knob; None if nothing was tuned."""
    title = f"Sensitivity to the tuned knobs · {group.title}"
    return render_figure(f"{group.name}-sensitivity", title, CAPTION, lambda: compose(group.methods))


def compose(methods: Sequence[TunedMethod]) -> Figure | None:
    """Draw the panels and the legend; None without panels."""
    panels = [(method, space) for method in methods if method.scores for space in method.study.spaces]
    if not panels:
        return None
    columns, pairs = min(MAX_COLUMNS, len(panels)), list(dict.fromkeys(pair for m, _ in panels for pair in m.pairs))
    rows = ceil(len(panels) / columns)
    size = max(PANEL_WIDTH * columns, LEGEND_WIDTH), PANEL_HEIGHT * rows + 0.5
    figure = Figure(figsize=size, layout="constrained")
    for index, (method, space) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.set_title(method.label, loc="left")
        axes.set_xlabel(space.knob)
        axes.set_ylabel("held-out top-1 (%)" if index % columns == 0 else "")
        draw_panel(axes, method, space, pairs)
        draw_plain_students(axes, methods, pairs)
    options = [{"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]} for i in range(len(pairs))]
    handles = [Line2D([], [], label=pair, **each) for pair, each in zip(pairs, options, strict=True)]
    if any(plain_accuracies(methods, pair) for pair in pairs):
        handles.append(Line2D([], [], label="plain student", **PLAIN))
    star = Line2D([], [], color=FOREGROUND, marker="*", markersize=9, linestyle="none", label="as in the suite")
    figure.legend(handles=[*handles, star, Line2D([], [], **RING, label="best")], loc="outside lower center", ncols=4)
    return figure


PLAIN = {"color": FOREGROUND, "linestyle": "--", "linewidth": 1}
RING = {"color": FOREGROUND, "marker": "o", "markersize": 11, "markerfacecolor": "none", "linestyle": "none"}


def draw_panel(axes: Axes, method: TunedMethod, space: Space, pairs: Sequence[str]) -> None:
    """Draw the trials of a study against one knob, a line for each pair."""
    if space.log:
        set_log_axis(axes, space)
    for index, pair in enumerate(pairs):
        found = points(method, space, pair)
        if not found:
            continue
        xs, means = [x for _, x, _ in found], [100 * summary.mean for _, _, summary in found]
        reach = [100 * (s.high - s.mean) if s.high is not None else 0.0 for _, _, s in found]
        style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)], "markersize": 4}
        joined = "-" if len(method.study.spaces) == 1 else "none"
        axes.errorbar(xs, means, yerr=reach if any(reach) else None, linestyle=joined, linewidth=1, **style)
        for number, x, summary in found:
            if number == 0:
                star = {"markersize": 11, "markeredgecolor": BACKGROUND, "zorder": 5, "linestyle": "none"}
                axes.plot([x], [100 * summary.mean], color=FOREGROUND, marker="*", **star)
            if number == method.best:
                axes.plot([x], [100 * summary.mean], zorder=6, **RING)


def draw_plain_students(axes: Axes, methods: Sequence[TunedMethod], pairs: Sequence[str]) -> None:
    """Draw a line at the accuracy of each pair's plain student, in the pair's colour."""
    for index, pair in enumerate(pairs):
        if summary := summarise(plain_accuracies(methods, pair)):
            axes.axhline(100 * summary.mean, **PLAIN | {"color": COLOURS[index % len(COLOURS)]})


def plain_accuracies(methods: Sequence[TunedMethod], pair: str) -> list[float]:
    """The held-out accuracies, as fractions, of a pair's student trained without a teacher and with nothing to tune."""
    every = [(method, entry.run) for method in methods for entry in method.entries.values()]
    students = {(run.student, run.data_label) for method, run in every if method.pair_label(run) == pair}
    return [
        method.scores[run.id]
        for method, run in every
        if not run.teacher and not method.study.spaces and (run.student, run.data_label) in students
        if run.id in method.scores
    ]


def set_log_axis(axes: Axes, space: Space) -> None:
    """Make the x axis logarithmic, as wide as the space, with numbers at 1, 3, 10 …: the style draws no powers."""
    axes.set_xscale("log")
    axes.update_datalim([(space.low, 0), (space.high, 0)], updatey=False)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def points(method: TunedMethod, space: Space, pair: str) -> list[tuple[int, float, Summary]]:
    """(Number, value of the knob, summary over seeds) of each trial with a result on a pair, in order of the value.

    A value that a logarithmic axis has no place for is left out.
    """
    found = []
    for number, trial in enumerate(method.study.trials):
        value, summary = trial.values[space.knob], summarise(method.accuracies(number, pair))
        shown = isinstance(value, int | float) and (value > 0 or not space.log)
        if summary and shown:
            found.append((number, float(value), summary))
    return sorted(found, key=lambda point: (point[1], point[0]))
