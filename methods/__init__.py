"""Distillation methods; importing this package registers every method in this folder.

from methods import Method, register
"""

import importlib
import pkgutil

from methods import registry
from methods.contract import Batch, Clock, Method, Outputs, Shape, Stage, Unfit
from methods.registry import register

__all__ = ["Batch", "Clock", "Method", "Outputs", "Shape", "Stage", "Unfit", "register", "registry"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
