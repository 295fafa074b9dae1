"""Batch normalisation in training, with residual sum and ReLU, as Triton kernels: two launches in each direction.

A feature map is read as a matrix, channels last.  A program takes a part of the rows, one after another, and a block of
the channels.  The first launch measures each part; in the second, every program merges the measurements of all parts
for its channels, in the same order, and applies the result.  Blocks follow from the shape alone and nothing is added
atomically, so equal inputs give equal bits.  All arithmetic is float32.  Imports Triton: import this file only where
that is installed.

M rows (images x pixels) · C channels · P parts · b channels of a block · t rows of a tile
"""

from __future__ import annotations

import triton
import triton.language as tl

ROW_COUNTS = ("rows", "part_rows")  # a last, smaller batch is no other kernel


@triton.jit
def tile_offsets(start, last, width, channels, ROWS: tl.constexpr):
    """Where a tile of rows lies in the matrix, and which of it is there: (t, b) each; no rows from `last` on."""
    row = start + tl.arange(0, ROWS)  # (t,)
    inside = (row < last)[:, None] & (channels < width)[None, :]  # (t, b)
    return row.to(tl.int64)[:, None] * width + channels[None, :], inside


@triton.jit
def passed_gradient(dy, y, offsets, inside):
    """The gradient as the ReLU let it through, (t, b) in float32: all of it where there is no ReLU (`y` is None)."""
    gradient = tl.load(dy + offsets, mask=inside, other=0.0).to(tl.float32)
    if y is not None:
        shown = tl.load(y + offsets, mask=inside, other=0.0).to(tl.float32)
        gradient = tl.where(shown <= 0.0, 0.0, gradient)
    return gradient


@triton.jit(do_not_specialize=ROW_COUNTS)
def measure(x, parts, rows, width, part_rows, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """x (M, C) -> parts (P, 2, C): each part's mean, and its sum of squared differences from that.

    Tiles are merged by the formula of Chan, Golub & LeVeque, The American Statistician 37 (1983): no difference of
    two large sums is taken, so the variance keeps its digits however far the mean is from zero.
    """
    part = tl.program_id(0)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)  # (b,)
    first = part * part_rows
    last = tl.minimum(first + part_rows, rows)
    mean = tl.zeros((CHANNELS,), tl.float32)
    squares = tl.zeros((CHANNELS,), tl.float32)
    for start in range(first, last, ROWS):
        offsets, inside = tile_offsets(start, last, width, channels, ROWS)
        value = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)  # (t, b)
        before = (start - first).to(tl.float32)
        count = tl.minimum(last - start, ROWS).to(tl.float32)
        tile_mean = tl.sum(value, 0) / count  # (b,)
        gap = tl.where(inside, value - tile_mean[None, :], 0.0)  # (t, b)
        step = tile_mean - mean  # (b,)
        mean += step * (count / (before + count))
        squares += tl.sum(gap * gap, 0) + step * step * (before * count / (before + count))
    place = parts + part * 2 * width + channels
    tl.store(place, mean, mask=channels < width)
    tl.store(place + width, squares, mask=channels < width)


@triton.jit
def merge_statistics(parts, rows, width, part_rows, channels, PARTS: tl.constexpr):
    """Mean and biased variance of some channels from those of all parts: (b,) each; the same formula at once."""
    part = tl.arange(0, PARTS)  # (P,)
    count = tl.minimum(tl.maximum(rows - part * part_rows, 0), part_rows).to(tl.float32)  # (P,)
    inside = (count > 0.0)[:, None] & (channels < width)[None, :]  # (P, b)
    place = parts + part[:, None] * 2 * width + channels[None, :]
    means = tl.load(place, mask=inside, other=0.0)
    squares = tl.load(place + width, mask=inside, other=0.0)
    mean = tl.sum(means * count[:, None], 0) / rows  # (b,)
    gap = tl.where(inside, means - mean[None, :], 0.0)  # (P, b)
    return mean, tl.sum(squares + gap * gap * count[:, None], 0) / rows


@triton.jit(do_not_specialize=ROW_COUNTS)
def normalise(
    x, shortcut, weight, bias, parts, y, kept_mean, kept_inverse, running_mean, running_var, momentum, eps,
    rows, width, part_rows, ACT: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """y = relu?((x - mean) / sd * weight + bias + shortcut?); mean and 1 / sd are kept, running statistics moved."""
    part = tl.program_id(0)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)  # (b,)
    known = channels < width
    mean, variance = merge_statistics(parts, rows, width, part_rows, channels, PARTS)  # (b,), (b,)
    inverse = 1.0 / tl.sqrt(variance + eps)
    if part == 0:
        tl.store(kept_mean + channels, mean, mask=known)
        tl.store(kept_inverse + channels, inverse, mask=known)
        old = tl.load(running_mean + channels, mask=known, other=0.0)
        tl.store(running_mean + channels, old + momentum * (mean - old), mask=known)
        old = tl.load(running_var + channels, mask=known, other=0.0)
        unbiased = variance * (rows / tl.maximum(rows - 1, 1))
        tl.store(running_var + channels, old + momentum * (unbiased - old), mask=known)
    scale = tl.load(weight + channels, mask=known, other=0.0) * inverse
    shift = tl.load(bias + channels, mask=known, other=0.0)
    first = part * part_rows
    last = tl.minimum(first + part_rows, rows)
    for start in range(first, last, ROWS):
        offsets, inside = tile_offsets(start, last, width, channels, ROWS)
        value = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)  # (t, b)
        value = (value - mean[None, :]) * scale[None, :] + shift[None, :]
        if shortcut is not None:
            value += tl.load(shortcut + offsets, mask=inside, other=0.0).to(tl.float32)
        if ACT:
            value = tl.where(value < 0.0, 0.0, value)  # what is not a number stays so
        tl.store(y + offsets, value.to(y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=ROW_COUNTS)
def measure_gradient(dy, y, x, mean, parts, rows, width, part_rows, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """dy, y, x (M, C) -> parts (P, 2, C): each part's sums of the passed gradient g and of g · (x - mean)."""
    part = tl.program_id(0)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)  # (b,)
    known = channels < width
    middle = tl.load(mean + channels, mask=known, other=0.0)
    first = part * part_rows
    last = tl.minimum(first + part_rows, rows)
    total = tl.zeros((CHANNELS,), tl.float32)
    product = tl.zeros((CHANNELS,), tl.float32)
    for start in range(first, last, ROWS):
        offsets, inside = tile_offsets(start, last, width, channels, ROWS)
        gradient = passed_gradient(dy, y, offsets, inside)  # (t, b), 0 outside
        value = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(gradient, 0)
        product += tl.sum(gradient * (value - middle[None, :]), 0)
    place = parts + part * 2 * width + channels
    tl.store(place, total, mask=known)
    tl.store(place + width, product, mask=known)


@triton.jit(do_not_specialize=ROW_COUNTS)
def propagate(
    dy, y, x, weight, mean, inverse, parts, dx, dshortcut, dweight, dbias,
    rows, width, part_rows, ROWS: tl.constexpr, CHANNELS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """From dy to dx and, where there was a shortcut, its gradient, all (M, C); dweight and dbias, (C,)."""
    part = tl.program_id(0)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)  # (b,)
    known = channels < width
    other = tl.arange(0, PARTS)  # (P,)
    present = (other * part_rows < rows)[:, None] & known[None, :]  # (P, b)
    place = parts + other[:, None] * 2 * width + channels[None, :]
    middle = tl.load(mean + channels, mask=known, other=0.0)
    sharp = tl.load(inverse + channels, mask=known, other=0.0)
    total = tl.sum(tl.load(place, mask=present, other=0.0), 0)  # (b,)
    product = tl.sum(tl.load(place + width, mask=present, other=0.0), 0) * sharp  # (b,)
    if part == 0:
        tl.store(dbias + channels, total, mask=known)
        tl.store(dweight + channels, product, mask=known)
    scale = tl.load(weight + channels, mask=known, other=0.0) * sharp
    first = part * part_rows
    last = tl.minimum(first + part_rows, rows)
    for start in range(first, last, ROWS):
        offsets, inside = tile_offsets(start, last, width, channels, ROWS)
        gradient = passed_gradient(dy, y, offsets, inside)  # (t, b)
        value = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)
        if dshortcut is not None:
            tl.store(dshortcut + offsets, gradient.to(dshortcut.dtype.element_ty), mask=inside)
        normal = (value - middle[None, :]) * sharp[None, :]
        result = scale[None, :] * (gradient - total[None, :] / rows - normal * (product[None, :] / rows))
        tl.store(dx + offsets, result.to(dx.dtype.element_ty), mask=inside)
