"""The command `tune`: the same number of settings tried for every method, on held-out training images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.results import write_report
from benchmark.cli.suite_options import suite_command
from benchmark.errors import printable
from benchmark.experiment.run import MAX_SEED

MAX_TRIALS = 1000
Trials = Annotated[int, typer.Option("--trials", min=1, max=MAX_TRIALS, help="Settings of each method.")]
Knobs = Annotated[
    list[str], typer.Option("--knob", help="METHOD.KNOB=LOW..HIGH[:log]: what to tune, for the method's weights.")
]
Tuned = Annotated[Path | None, typer.Option("--tuned", help="The suite's file to write; default: tuned-SUITE.yaml.")]
TrialSeed = Annotated[
    int, typer.Option("--trial-seed", min=0, max=MAX_SEED, help="Seed of the settings; other than --seeds.")
]


def add_commands(app: typer.Typer) -> None:
    """Register the command with `app`."""
    suite_command(app, judge="holdout")(tune)


def tune(
    runs, options, reports, *, trials: Trials = 12, knob: Knobs = (), trial_seed: TrialSeed = 0, tuned: Tuned = None
):
    """Tune every method with equally many trials on held-out training images; write the best settings as a suite."""
    from benchmark.acceleration.driver import check_gpu
    from benchmark.interrupts import SENTENCE, STOPPED
    from benchmark.sweep.load import make_room
    from benchmark.training.callback import Stopped
    from benchmark.tuning import tune as command

    if options.executor != "ray":  # then this machine need not be like those that train
        check_gpu(options.device, every=options.executor == "spawn")
    try:
        text, failed = command.tune(runs, make_room(options), trials, knob, trial_seed, tuned)
    except Stopped as limit:
        print(printable(f"{limit}: {SENTENCE}"), file=sys.stderr)
        raise typer.Exit(STOPPED) from limit
    rendered = write_report(options.results, reports)
    print(text)
    for sentence in failed:
        print(printable(f"failed: {sentence}"), file=sys.stderr)
    raise typer.Exit(1 if failed else rendered)
