"""One run in flight: student, method, optimiser and history.  It steps, ends epochs, and lands as a record.

A lane trains the same alone or in company: all it draws is named by its own run, and it shares only batches and the
teacher's answers with others.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import flight, landing, made, models, score, seeds
from benchmark.nature import Nature
from benchmark.outputs import detached
from benchmark.run import Run
from benchmark.setting import Setting
from benchmark.store import Record
from methods import registry
from methods.contract import Batch, Clock, Outputs, Stage, Unfit


class Lane:
    """One run in flight.  `board` builds it or picks it up where it was left; then epochs; then `land`."""

    def __init__(self, run: Run, setting: Setting):
        self.run, self.setting = run, setting
        self.status = "flying"
        self.epoch = 0  # the epoch to train next, over all stages
        self.curve: dict[str, Any] = {"stage": [], "lr": [], "top1": [], "loss": {}}
        self.clock = {"setup_s": 0.0, "train_s": 0.0, "evaluate_s": 0.0, "lanes": 0.0, "resumed": 0}
        self.saved, self.started = time.monotonic(), made.now()

    # ---- before the first step
    def board(self) -> None:
        """Build student and method; resume if a flight was kept.  Raises Unfit."""
        started = time.perf_counter()
        run, machine = self.run, self.setting.machine
        classes, teacher = len(self.setting.data.classes), self.setting.teacher
        size = tuple(self.setting.data.train_x.shape[1:3])
        own = models.shape(run.student, classes, size)
        other = models.shape(run.teacher.student, classes, size) if run.teacher else own
        with seeds.scope("init", run.seed, run.student):
            self.student = machine.train(models.build(run.student, classes))
        with seeds.scope("method", run.seed, run.student, run.method):
            self.method = machine.place(registry.get(run.method)(own, other, **run.knobs))
            self.method.prepare(self.student, teacher.net.net if run.teacher else None, self._sweep)
        machine.train(self.student), machine.place(self.method)
        self.stages = self.method.stages(run.recipe.epochs)
        self.noisy = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in self.student.modules())
        self.sums: dict[str, Tensor] = {}  # of each term, over an epoch
        never = "dropout is drawn by name in every step" if self.noisy else machine.unrecorded(run.recipe)
        self.learning = self.setting.belt.steady(self.learn, self._nature, never)
        self.clock["setup_s"] = time.perf_counter() - started
        flight.resume(self)

    def _sweep(self) -> Iterator[tuple[Outputs, Batch]]:
        for batch in self.setting.learn.plain():
            yield self.setting.teacher.look(batch.x), batch

    # ---- an epoch
    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def where(self, epoch: int) -> tuple[Stage, int]:
        """The stage that an epoch falls into, and its place within the stage."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage, epoch
            epoch -= stage.epochs
        raise IndexError("past the last epoch")

    def begin_epoch(self, epoch: int) -> bool:
        """Make ready for an epoch; False when this lane does not train in it."""
        if epoch != self.epoch or epoch >= self.epochs:
            return False
        self.stage, self.place = self.where(epoch)
        if self.place == 0:
            self.optimiser = self.new_optimiser()
        self.student.train(), self.method.train()
        self.method.begin_epoch(Clock(self.stage.name, self.place, self.stage.epochs))
        self.steps, self.terms = 0, {}
        for total in self.sums.values():
            total.zero_()
        self.learning.begin()
        return True

    def new_optimiser(self) -> torch.optim.Optimizer:
        """An optimiser without momentum yet, over everything that is trained."""
        trained = [*self.student.parameters(), *self.method.parameters()]
        return self.setting.machine.optimiser(trained, self.run.recipe)

    def step(self, batch: Batch, t: Outputs | None) -> None:
        """One step of SGD.  Nothing in here waits for the device."""
        self._set_rate()
        self.terms |= self.learning(batch, t if self.run.teacher else None)
        self.steps += 1

    def learn(self, batch: Batch, t: Outputs | None) -> dict[str, None]:
        """What is the same in every step of an epoch; returns the names of the terms."""
        with self._noise():
            s = self.setting.machine.look(self.student, batch.x)
        terms = self.stage.loss(s, t, batch)
        self.optimiser.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        self.optimiser.step()
        with torch.no_grad():
            self.method.observe(detached(s), t, batch)
            self._add_up(terms, len(batch.y))
        return dict.fromkeys(terms)

    def _nature(self) -> Nature:
        """What a recording of `learn` bakes in."""
        state = (self.optimiser.state, self.optimiser.param_groups)
        return Nature(self.student, self.method, state, self.stage.name, self.sums)

    def _set_rate(self) -> None:
        steps = math.ceil(len(self.setting.learn) / self.run.recipe.batch)
        self.rate = self.run.recipe.rate(self.place + self.steps / steps, self.stage.epochs)
        self.setting.machine.set_rate(self.optimiser, self.rate)

    def _noise(self) -> contextlib.AbstractContextManager:
        """Dropout drawn by name, so that company does not change it."""
        if not self.noisy:
            return contextlib.nullcontext()
        return seeds.scope("noise", self.run.seed, self.epoch, self.steps)

    def _add_up(self, terms: dict[str, Tensor], count: int) -> None:
        for name, value in terms.items():
            if name not in self.sums:
                self.sums[name] = torch.zeros((), dtype=torch.float64, device=value.device)
            self.sums[name] += value.detach() * count

    def end_epoch(self, seconds: float, lanes: int) -> None:
        """Mean terms, accuracy, checkpoint: the only moment that waits for the device.

        seconds: what the cohort's epoch took; lanes: how many shared it.
        """
        means = {name: self.sums[name].item() / len(self.setting.learn) for name in self.terms}
        started = time.perf_counter()
        self.logits = score.logits(self.student, self.setting.judged, self.setting.machine)  # (M, K)
        self._write_curve(means, score.top1(self.logits, self.setting.judged.y.cpu()))
        self.clock["evaluate_s"] += time.perf_counter() - started
        self.clock["train_s"] += seconds
        self.clock["lanes"] += lanes
        self.epoch += 1
        odd = [f"{name} is {value}" for name, value in means.items() if not math.isfinite(value)]
        if odd:
            raise Diverged(f"in epoch {self.epoch} ({self.stage.name}) the mean of {', '.join(odd)}")
        if self.epoch < self.epochs and time.monotonic() - self.saved >= self.setting.pause:
            flight.save(self)
            self.saved = time.monotonic()

    def _write_curve(self, means: dict[str, float], top1: float) -> None:
        self.curve["stage"].append(self.stage.name)
        self.curve["lr"].append(self.rate)
        self.curve["top1"].append(top1)
        losses = self.curve["loss"]
        for name in [*losses, *(name for name in means if name not in losses)]:
            column = losses.setdefault(name, [None] * self.epoch)
            column.append(means.get(name))

    # ---- after the last step
    def land(self) -> Record:
        """Score, keep weights and predictions, write the record."""
        self.status = "done"
        return landing.land(self)

    def retire(self, fault: BaseException) -> Record:
        """Write a record that says why there is no result; the others fly on."""
        self.status = "unfit" if isinstance(fault, Unfit) else "diverged" if isinstance(fault, Diverged) else "failed"
        return landing.retire(self, fault)


class Diverged(ArithmeticError):
    """A loss stopped being a number."""
