"""A lane: one run of a cohort while it trains.

A lane trains the same alone or in a cohort: every random draw is named by its own run, and lanes share only the
batches and the teacher's outputs.  On a CPU that is so bit for bit; `benchmark/acceleration/feed.py` says what holds
on CUDA.

M evaluation images · K classes
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmark import models
from benchmark.acceleration.graphed_function import Guard, weak_method
from benchmark.acceleration.output_cast import detach_outputs
from benchmark.experiment import seeds
from benchmark.experiment.run import Run
from benchmark.models.net import count_batches
from benchmark.store import Record
from benchmark.training import checkpoint, metrics, record
from benchmark.training.context import Context, unchanged
from benchmark.training.state import LaneState, checked_stages
from methods import registry
from methods.contract import Batch, Clock, Outputs, Stage, Unfit


class Lane(LaneState):
    """One run of a cohort: `setup` builds or resumes it, then epochs of `step`, then `finish` or `fail`, then `close`.

    Nothing that it creates refers back to it, so that its memory is free as soon as nobody uses it.
    """

    def __init__(self, run: Run, context: Context):
        super().__init__(run, context)
        self.last_checkpoint = time.monotonic()

    # ---- before the first step
    def setup(self) -> None:
        """Build student and method; resume from a checkpoint if there is one.  Raises Unfit."""
        started, self.source = time.perf_counter(), registry.digest(self.run.method)
        run, machine = self.run, self.context.machine
        classes, teacher = len(self.context.data.classes), self.context.teacher
        size = tuple(self.context.data.train_x.shape[1:3])
        own = models.shape(run.student, classes, size)
        other = models.shape(run.teacher.student, classes, size) if run.teacher else own
        with seeds.scope("init", run.seed, run.student):
            shown = registry.preactivations_read([run.method])
            self.student = machine.prepare_student(models.build(run.student, classes, shown))
        with seeds.scope("method", run.seed, run.student, run.method):
            self.method = machine.to_device(registry.get(run.method)(own, other, **run.knobs))
            network = teacher.network() if run.teacher else None
            self.method.prepare(self.student, network, weak_method(self._teacher_pass))
        machine.prepare_student(self.student), machine.to_device(self.method)
        self.stages = checked_stages(self.method.stages(run.recipe.epochs))
        self.has_dropout = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in self.student.modules())
        self.loss_sums: dict[str, Tensor] = {}  # of each loss term over an epoch
        never = "dropout is drawn from a new generator in every step" if self.has_dropout else ""
        self.graphed_step = self.context.feed.graphed(weak_method(self.training_step), weak_method(self._guard), never)
        self.clock["setup_s"] = time.perf_counter() - started
        checkpoint.load(self)

    def _teacher_pass(self) -> Iterator[tuple[Outputs, Batch]]:
        """The `sweep` of Method.prepare: the teacher's outputs for the training images, without augmentation."""
        for batch in self.context.train_split.in_order():
            yield self.context.teacher.forward(batch.x), batch

    # ---- an epoch
    def stage_at(self, epoch: int) -> tuple[Stage, int]:
        """The stage that an epoch belongs to, and the epoch's number within that stage."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage, epoch
            epoch -= stage.epochs
        raise IndexError("past the last epoch")

    def begin_epoch(self, epoch: int) -> bool:
        """Prepare for an epoch; False if this lane does not train in it."""
        if epoch != self.epoch or epoch >= self.epochs:
            return False
        self.stage, self.stage_epoch = self.stage_at(epoch)
        if self.stage_epoch == 0:
            self.optimiser = self.new_optimiser()
        self.student.train(), self.method.train()
        self.method.begin_epoch(Clock(self.stage.name, self.stage_epoch, self.stage.epochs))
        self.steps, self.terms = 0, {}
        for total in self.loss_sums.values():
            total.zero_()
        self.graphed_step.begin()
        return True

    def step(self, batch: Batch, t: Outputs | None) -> None:
        """One optimiser step.  Nothing in it synchronises with the device."""
        self._set_lr()
        self.terms |= self.graphed_step(batch, t if self.run.teacher else None)
        self.steps += 1

    def training_step(self, batch: Batch, t: Outputs | None) -> dict[str, None]:
        """Forward pass, backward pass and update, as a CUDA graph may record them; the names of the loss terms."""
        with unchanged(batch, t):
            with self._named_dropout():
                s = self.context.machine.forward(self.student, batch.x)
            terms = self.stage.loss(s, t, batch)
            self.optimiser.zero_grad(set_to_none=True)
            sum(terms.values()).backward()
            self.optimiser.step()
            with torch.no_grad():
                self.method.observe(detach_outputs(s), t, batch)
                self._sum_losses(terms, len(batch.y))
        return dict.fromkeys(terms)

    def _guard(self) -> Guard:
        """What a recording of `training_step` fixes."""
        optimiser = (self.optimiser.state, self.optimiser.param_groups)
        return Guard(self.student, self.method, optimiser, self.stage.name, self.loss_sums)

    def _set_lr(self) -> None:
        steps = math.ceil(len(self.context.train_split) / self.run.recipe.batch)
        scheduled = self.run.recipe.rate(self.stage_epoch + self.steps / steps, self.stage.epochs)
        self.lr = scheduled if self.stage.rate is None else self.stage.rate * self.run.recipe.lr
        self.context.machine.set_lr(self.optimiser, self.lr)

    def _named_dropout(self) -> contextlib.AbstractContextManager:
        """Dropout is drawn from a generator named by run and step, so that other lanes do not change it."""
        if not self.has_dropout:
            return contextlib.nullcontext()
        return seeds.scope("noise", self.run.seed, self.epoch, self.steps)

    def _sum_losses(self, terms: dict[str, Tensor], count: int) -> None:
        for name, value in terms.items():
            if name not in self.loss_sums:
                self.loss_sums[name] = torch.zeros((), dtype=torch.float64, device=value.device)
            self.loss_sums[name] += value.detach() * count

    def end_epoch(self, seconds: float, lanes: int) -> None:
        """Mean losses, accuracy, checkpoint: the only point of an epoch that synchronises with the device.

        seconds: duration of the cohort's epoch; lanes: how many lanes shared it.  Raises Diverged.
        """
        means = {name: self.loss_sums[name].item() / len(self.context.train_split) for name in self.terms}
        started = time.perf_counter()
        images, machine = self.context.eval_split, self.context.machine
        self.logits, self.eval_batch = metrics.predict_logits(self.student, images, machine, self.eval_batch)  # (M, K)
        self._extend_curve(means, metrics.top1(self.logits, self.context.eval_split.y.cpu()))
        self.clock["evaluate_s"] += time.perf_counter() - started
        self.clock["train_s"] += seconds
        self.clock["lanes"] += lanes
        self.epoch += 1
        count_batches(self.student, self.steps)
        odd = [f"{name} is {value}" for name, value in means.items() if not math.isfinite(value)]
        if odd:
            raise Diverged(f"in epoch {self.epoch} ({self.stage.name}) the mean of {', '.join(odd)}")
        if self.epoch == self.epochs and not self.logits.isfinite().all():  # by its last step
            raise Diverged("its logits after the last epoch are not finite")
        due = time.monotonic() - self.last_checkpoint >= self.context.checkpoint_interval
        if self.epoch < self.epochs and due:
            checkpoint.save(self)
            self.last_checkpoint = time.monotonic()

    def _extend_curve(self, means: dict[str, float], top1: float) -> None:
        self.curve["stage"].append(self.stage.name)
        self.curve["lr"].append(self.lr)
        self.curve["top1"].append(top1)
        losses = self.curve["loss"]
        for name in [*losses, *(name for name in means if name not in losses)]:
            column = losses.setdefault(name, [None] * self.epoch)
            column.append(means.get(name))

    # ---- after the last step
    def finish(self) -> Record:
        """Score the run; write weights, predictions and record."""
        self.status = "done"
        return record.write_result(self)

    def fail(self, fault: BaseException) -> Record:
        """Write a record that says why there is no result."""
        self.status = "unfit" if isinstance(fault, Unfit) else "diverged" if isinstance(fault, Diverged) else "failed"
        return record.write_failure(self, fault)

    def close(self) -> None:
        """Drop the recorded step and give up its CUDA stream, after waiting for the device.  May be called twice."""
        if self.graphed_step:
            self.graphed_step.close()


class Diverged(ArithmeticError):
    """A loss is no longer finite."""
