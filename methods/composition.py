"""Composition of methods: a class that adds the terms of several, written "a+b"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from methods.contract import BadKnob, Clock, Method, Shape, Stage


def compose(name: str, parts: Sequence[type[Method]]) -> type[Method]:
    """A class that adds the terms of several methods; cross-entropy counts once, with the weight of the first.

    Extra stages of the parts run first, one after another; the last stages run together.
    """

    class Composite(Method):
        needs_teacher = any(cls.needs_teacher for cls in parts)
        reads_preactivations = any(cls.reads_preactivations for cls in parts)

        def __init__(self, student: Shape, teacher: Shape, **values):
            super().__init__()
            for cls in parts:
                own = {k.removeprefix(f"{cls.name}."): v for k, v in values.items() if k.startswith(f"{cls.name}.")}
                with knobs_of(cls):
                    self.add_module(f"part_{cls.name}", cls(student, teacher, **own))

        def loss(self, s, t, batch):
            return add_up((part.loss for part in self.children()), s, t, batch)

        def prepare(self, student, teacher, sweep):
            for part in self.children():
                part.prepare(student, teacher, sweep)

        def stages(self, epochs):
            each = [stages_of(part, epochs) for part in self.children()]
            before = [stage for stages in each for stage in stages[:-1]]
            losses = [stages[-1].loss for stages in each]
            return [*before, Stage("distill", epochs, lambda s, t, b: add_up(losses, s, t, b))]

        def begin_epoch(self, clock: Clock):
            for part in self.children():
                part.begin_epoch(clock)

        def observe(self, s, t, batch):
            for part in self.children():
                part.observe(s, t, batch)

    Composite.name = Composite.__qualname__ = name
    return Composite


def stages_of(part: Method, epochs: int) -> list[Stage]:
    """The stages of a part; its bad knobs are named as the composition names them."""
    with knobs_of(part):
        return part.stages(epochs)


@contextmanager
def knobs_of(part: type[Method] | Method) -> Iterator[None]:
    """Context in which a bad knob of a part is named as the composition names it: "kd.alpha"."""
    try:
        yield
    except BadKnob as fault:
        raise BadKnob(f"{part.name}.{fault.knob}", fault.value, fault.reason) from fault


def add_up(losses, s, t, batch) -> dict:
    """The terms of several losses in one dict; "ce" only from the first loss that has it.  Raises TypeError."""
    terms = {}
    for loss in losses:
        for term, value in loss(s, t, batch).items():
            if term == "ce":
                terms.setdefault("ce", value)
            elif term in terms:
                raise TypeError(f"two methods have a term named {term!r}: rename one")
            else:
                terms[term] = value
    return terms
