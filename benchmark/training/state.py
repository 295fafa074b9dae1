"""State of one training run: networks, optimiser, progress and history.  Checkpoints and records are made from it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn, optim

from benchmark.acceleration.graphed_function import GraphedFunction
from benchmark.experiment.run import Run
from benchmark.training import provenance
from benchmark.training.context import Context
from methods.contract import Method, Stage


class LaneState:
    """State of a run in training.  Networks, stages and optimiser exist once the lane is set up."""

    student: nn.Module
    method: Method
    optimiser: optim.Optimizer
    graphed_step: GraphedFunction | None
    logits: Tensor  # (M, K)  of the evaluation images after the last epoch

    def __init__(self, run: Run, context: Context):
        self.run, self.context = run, context
        self.status = "running"  # then done, diverged, failed or unfit, as in the record
        self.epoch = 0  # the epoch to train next, over all stages
        self.source = ""  # hash of the method's code when it was set up
        self.stages: list[Stage] = []
        self.graphed_step = None
        self.eval_batch = context.machine.eval_batch  # images in a batch of the evaluation; less once memory ran out
        self.curve: dict[str, Any] = {"stage": [], "lr": [], "top1": [], "loss": {}}
        self.clock = {"setup_s": 0.0, "train_s": 0.0, "evaluate_s": 0.0, "lanes": 0.0, "resumed": 0}
        self.started = provenance.now()

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def new_optimiser(self) -> optim.Optimizer:
        """An optimiser without momentum, over the parameters of student and method."""
        trained = [*self.student.parameters(), *self.method.parameters()]
        return self.context.machine.optimiser(trained, self.run.recipe)

    def restore_optimiser(self, state: dict[str, Any]) -> None:
        """Go on with the optimiser whose `state_dict` a checkpoint holds.  Raises ValueError if it does not fit."""
        optimiser = self.new_optimiser()
        self.context.machine.load_optimiser(optimiser, state)
        for p, values in optimiser.state.items():
            if any(isinstance(v, Tensor) and v.dim() and v.shape != p.shape for v in values.values()):
                raise ValueError("the optimiser of another network")
        self.optimiser = optimiser


def checked_stages(stages: Any) -> list[Stage]:
    """What a method returned as its stages.  Raises TypeError if it is something else."""
    found = list(stages) if isinstance(stages, list | tuple) else []
    if not (found and all(isinstance(stage, Stage) and isinstance(stage.epochs, int) for stage in found)):
        raise TypeError("`stages` must return a list of Stage(name, epochs, loss)")
    return found
