"""Entry point of the command line: the commands, and bad input reported as one sentence."""

import io
import sys
from pathlib import Path

import typer

from benchmark.cli import machine, methods, results, tuning, why
from benchmark.cli.options import Results, check_is_there
from benchmark.cli.suite_options import suite_command
from benchmark.cli.tracked import say_if_tracked
from benchmark.cli.usage import UsageError, report_problem
from benchmark.errors import BadInput, printable
from benchmark.interrupts import SENTENCE, STOPPED
from benchmark.report.formatting import count_of
from benchmark.waiting import say_if_slow

HELP = "Train, measure and compare methods of knowledge distillation."

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=HELP)


@suite_command(app)
def run(runs, options, reports):
    """Train the runs of a suite that have no record yet, then write the report.  Exit code 1 if a run failed."""
    from benchmark.acceleration.driver import check_gpu

    if options.executor != "ray":  # then this machine need not be like those that train
        check_gpu(options.device, every=options.executor == "spawn")
    with say_if_tracked(options.results, "--results"):
        failed, limit = train_and_measure(runs, options)
    rendered = results.write_report(options.results, reports)
    for sentence in failed:
        print(printable(f"failed: {sentence}"), file=sys.stderr)
    if limit:
        print(printable(f"{limit}: {SENTENCE}"), file=sys.stderr)
    raise SystemExit(1 if failed else STOPPED if limit else rendered)


def train_and_measure(runs, options):
    """Train, then measure costs.  Returns a sentence for each run without a result, and which limit ended the sweep."""
    from benchmark.profiling import cost, deployment
    from benchmark.store import Store
    from benchmark.sweep import runner
    from benchmark.sweep.claims import Claims, one_at_a_time
    from benchmark.sweep.failures import failures
    from benchmark.sweep.load import make_room
    from benchmark.training.callback import Stopped

    options = make_room(options)
    try:
        failed = runner.run(runs, options)
    except Stopped as limit:
        return failures(runs, Store(options.results), recorded=True), str(limit)
    if options.processes or Claims(options.results).held():
        print(f"costs not measured beside other programs; `cost {options.suite}` measures them later", file=sys.stderr)
    elif options.executor != "ray":
        with one_at_a_time(options.results, "measuring"):
            cost.measure_or_warn(runs, options)
            deployment.measure(runs, options)
    return failed, ""


@suite_command(app)
def plan(runs, options, reports):
    """Print what `run` would do: runs done and missing, hours and disk space as far as they were measured."""
    from benchmark.sweep import estimate, runner

    with results.naming_damaged_records():
        text = estimate.describe(runner.make_plan(runs, options), options)
    print(text)


@app.command()
def status(results: Results = Path("results")):
    """Print what is being trained now in a folder of results: run, epoch, since when, process and machine."""
    from benchmark.sweep import claims

    check_is_there(results)
    print(printable(claims.describe(claims.Claims(results).held()), keep="\n"))


@suite_command(app, default="mini")
def theory(runs, options, reports):
    """Test the papers' claims on the features of a suite's trained networks; the report shows the results."""
    from benchmark.acceleration.driver import check_gpu
    from benchmark.theory import examine

    check_gpu(options.device)
    with say_if_tracked(options.results, "--results"), say_if_slow("measuring the features of trained networks"):
        text = examine.examine(runs, options)
    print(printable(text, keep="\n"))


@suite_command(app)
def cost(runs, options, reports):
    """Measure each method's training step alone, and each network as deployed.  What has a record is skipped."""
    from benchmark.acceleration.driver import check_gpu
    from benchmark.profiling import cost, deployment

    check_gpu(options.device)
    with say_if_tracked(options.results, "--results"):
        costs, networks = cost.measure(runs, options), deployment.measure(runs, options)
    print(f"{count_of(len(costs), 'cost')} and {count_of(len(networks), 'network')} as deployed measured")


for commands in (methods, results, why, machine, tuning):
    commands.add_commands(app)


def main() -> None:
    """Run the command line.  Bad input is printed as one sentence, with exit code 2.  Raises KeyboardInterrupt."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a question mark for what its encoding lacks
    try:
        code = app(prog_name="python -m benchmark", standalone_mode=False)
    except typer.Abort:
        code = STOPPED
    except (BadInput, UsageError, OSError) as fault:
        code = report_problem(fault)
    if code == STOPPED:  # Typer caught KeyboardInterrupt, or an older Typer raised Abort for it
        raise KeyboardInterrupt
    raise SystemExit(code)
