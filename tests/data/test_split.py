"""Batches: augmentation against loops over pixels, random draws, normalisation, and the split of each judge.

N images in the split · B in a batch · H, W pixels · P pixels of padding
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms import Compose, RandomCrop, RandomHorizontalFlip

from benchmark.data.datasets import make_dataset
from benchmark.data.split import Augmentation, Split, holdout_mask, make_splits
from benchmark.experiment.run import Recipe, Steps
from benchmark.experiment.seeds import generator, scope

CPU = torch.device("cpu")
STATISTICS = ((0.5, 0.4, 0.3), (0.25, 0.2, 0.3))


def a_recipe(**changes):
    return Recipe(**{"epochs": 1, "lr": 0.1, "schedule": Steps(at=()), "batch": 8} | changes)


def draw(n=20, height=7, width=7, seed=0):
    """Images (N, H, W, 3) uint8 and labels (N,)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (n, height, width, 3), generator=generator, dtype=torch.uint8)
    return x, torch.arange(n) % 3


def a_split(n=20, height=7, width=7, statistics=STATISTICS):
    return Split(*draw(n, height, width), statistics, CPU)


def equal_batches(one, two):
    """Whether two iterators give the same batches."""
    return all(a.x.equal(b.x) and a.y.equal(b.y) and a.index.equal(b.index) for a, b in zip(one, two, strict=True))


# ---- augmentation, pixel by pixel
def reflected_index(place, size):
    """The index of the pixel that reflect padding, without repeating the edge, puts at `place`."""
    while not 0 <= place < size:
        place = -place if place < 0 else 2 * (size - 1) - place
    return place


def padded_pixel(image, row, column, pad):
    """A pixel of an image (H, W, 3), or of its padding."""
    height, width = image.shape[:2]
    if 0 <= row < height and 0 <= column < width:
        return image[row, column].tolist()
    if pad == "zero":
        return [0, 0, 0]
    return image[reflected_index(row, height), reflected_index(column, width)].tolist()


def augmented_image(image, down, right, mirror, recipe):
    """One image, padded, cropped, mirrored and normalised, pixel by pixel."""
    height, width = image.shape[:2]
    out = torch.empty(3, height, width)
    for i in range(height):
        for j in range(width):
            across = width - 1 - j if mirror else j
            value = padded_pixel(image, i + down - recipe.crop, across + right - recipe.crop, recipe.pad)
            for c in range(3):
                out[c, i, j] = (value[c] / 255 - STATISTICS[0][c]) / STATISTICS[1][c]
    return out


@settings(deadline=None, max_examples=30)
@given(
    height=st.integers(4, 9),
    width=st.integers(4, 9),
    crop=st.integers(0, 3),
    pad=st.sampled_from(["zero", "reflect"]),
    flip=st.booleans(),
    seed=st.integers(0, 99),
)
def test_batches_equal_a_loop_over_pixels(height, width, crop, pad, flip, seed):
    split, recipe = a_split(5, height, width), a_recipe(crop=crop, pad=pad, flip=flip, batch=3)
    augmentation = Augmentation.draw(seed, 2, 5, crop, flip)
    for batch in split.epoch(seed, 2, recipe):
        for x, i in zip(batch.x, batch.index.tolist(), strict=True):
            expected = augmented_image(
                split.x[i], augmentation.down[i].item(), augmentation.right[i].item(), augmentation.mirror[i], recipe
            )
            torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)


def test_a_split_can_be_used_with_one_padding_and_then_another():
    split = a_split()
    for changes in ({"crop": 2}, {"crop": 2, "pad": "reflect"}, {"crop": 3}, {"crop": 0}, {"crop": 2}):
        recipe = a_recipe(**changes)
        assert equal_batches(split.epoch(0, 0, recipe), a_split().epoch(0, 0, recipe))


# ---- random draws
def test_an_epoch_is_a_function_of_seed_and_epoch_whatever_was_drawn_before():
    split, recipe = a_split(), a_recipe()
    first = list(split.epoch(3, 5, recipe))
    with scope("somebody", "else"):
        torch.rand(100)
        list(split.epoch(3, 6, recipe))
        assert equal_batches(first, split.epoch(3, 5, recipe))
    assert equal_batches(first, a_split().epoch(3, 5, recipe))


def test_an_epoch_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    list(a_split().epoch(0, 0, a_recipe()))
    assert torch.get_rng_state().equal(before)


def test_another_seed_or_epoch_has_another_augmentation():
    draws = [Augmentation.draw(seed, epoch, 50, 4, True) for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for field in ("order", "down", "right", "mirror"):
        assert len({tuple(getattr(augmentation, field).tolist()) for augmentation in draws}) == len(draws)


def test_an_image_has_the_same_augmentation_for_every_batch_size():
    small, large = (list(a_split().epoch(0, 0, a_recipe(batch=batch))) for batch in (3, 20))
    assert torch.cat([batch.x for batch in small]).equal(large[0].x)


@pytest.mark.parametrize("batch", [1, 6, 7, 20, 64])
def test_every_image_comes_once_an_epoch_with_its_label_and_the_last_batch_is_kept(batch):
    split = a_split()
    found = list(split.epoch(0, 0, a_recipe(batch=batch)))
    index = torch.cat([each.index for each in found])
    assert index.sort().values.tolist() == list(range(20))
    assert torch.cat([each.y for each in found]).equal(split.y[index])
    sizes = [len(each.y) for each in found]
    assert sizes == [batch] * (20 // batch) + ([20 % batch] if 20 % batch else [])


def test_without_crop_and_flip_images_are_only_shuffled():
    split = a_split()
    (plain,), (batch,) = split.in_order(), split.epoch(0, 0, a_recipe(crop=0, flip=False, batch=20))
    assert batch.x.equal(plain.x[batch.index])
    assert not batch.index.equal(plain.index)


COORDINATES = torch.stack(  # every pixel holds its coordinates from 1; padding is 0
    (*torch.meshgrid(torch.arange(1, 11), torch.arange(1, 11), indexing="ij"), torch.ones(10, 10, dtype=torch.long))
).byte()  # (3, 10, 10)


def count_offsets(x):
    """Crops (N, 3, 10, 10) of COORDINATES -> how often each of 9 x 9 offsets and 2 directions occurs: (162,)."""
    row, column, left = x[:, 0, 5, 5].long(), x[:, 1, 5, 5].long(), x[:, 1, 5, 4].long()
    mirror = (left > column).long()
    down = row - 2
    right = torch.where(mirror == 1, column - 1, column - 2)
    return torch.bincount((down * 9 + right) * 2 + mirror, minlength=162)


def test_offsets_and_flips_are_distributed_as_in_torchvision():
    n = 6000
    x = COORDINATES.permute(1, 2, 0).expand(n, 10, 10, 3).contiguous()
    split = Split(x, torch.zeros(n, dtype=torch.long), ((0, 0, 0), (1 / 255,) * 3), CPU)
    (batch,) = split.epoch(0, 0, a_recipe(batch=n))
    with scope("torchvision"):
        augment = Compose([RandomCrop(10, padding=4), RandomHorizontalFlip()])
        expected = count_offsets(torch.stack([augment(COORDINATES) for _ in range(n)]))
    found = count_offsets(batch.x.round())
    assert len(found) == len(expected) == 162
    assert stats.chisquare(found).pvalue > 1e-3
    assert stats.chi2_contingency(torch.stack([found, expected])).pvalue > 1e-3


# ---- normalisation
def test_pixels_are_normalised_by_mean_and_standard_deviation():
    split = a_split()
    (batch,) = split.in_order()
    x = split.x.numpy().astype(np.float64) / 255
    expected = (x - np.array(STATISTICS[0])) / np.array(STATISTICS[1])
    np.testing.assert_allclose(batch.x.permute(0, 2, 3, 1), expected, rtol=1e-5, atol=1e-5)
    assert batch.x.dtype == torch.float32


def test_training_images_have_zero_mean_and_unit_variance_under_their_own_statistics():
    x, y = draw(50, 8, 8)
    data = make_dataset("mine", ("a", "b", "c"), x.numpy(), y.numpy(), x[:9].numpy(), y[:9].numpy())
    (batch,) = make_splits(data, "test", CPU)[0].in_order()
    torch.testing.assert_close(batch.x.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(batch.x.std((0, 2, 3), correction=0), torch.ones(3), rtol=0, atol=1e-4)


def test_images_are_channels_last_in_memory():
    split = a_split()
    for batch in (next(split.in_order()), next(split.epoch(0, 0, a_recipe()))):
        assert batch.x.is_contiguous(memory_format=torch.channels_last)


def test_images_without_augmentation_are_in_order_for_every_batch_size():
    split = a_split()
    for size in (1, 7, 500):
        found = list(split.in_order(size))
        assert torch.cat([batch.index for batch in found]).tolist() == list(range(20))
        assert torch.cat([batch.x for batch in found]).equal(next(split.in_order()).x)


# ---- the images of each judge
def a_dataset(counts=(40, 30, 20), name="mine"):
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=generator("test"))].numpy()
    x = np.arange(len(y) * 12, dtype=np.int64).reshape(-1, 2, 2, 3) % 251
    return make_dataset(name, tuple(map(str, range(len(counts)))), x.astype(np.uint8), y, x[:5].astype(np.uint8), y[:5])


def test_the_test_judge_trains_on_all_training_images():
    data = a_dataset()
    train, judged = make_splits(data, "test", CPU)
    assert train.x.equal(data.train_x)
    assert judged.x.equal(data.test_x)


def test_the_holdout_is_a_tenth_of_each_class_of_the_training_images():
    data = a_dataset()
    train, judged = make_splits(data, "holdout", CPU)
    assert judged.y.bincount().tolist() == [4, 3, 2]
    assert train.y.bincount().tolist() == [36, 27, 18]


def test_the_holdout_and_the_rest_are_disjoint_and_together_everything():
    data = a_dataset()
    mask = holdout_mask(data.train_y, data.name)
    train, judged = make_splits(data, "holdout", CPU)
    assert judged.x.equal(data.train_x[mask])
    assert train.x.equal(data.train_x[~mask])
    assert len(train) + len(judged) == len(data.train_y)


def test_the_holdout_is_the_same_each_time_and_different_for_another_data_set():
    y = a_dataset().train_y
    with scope("somebody", "else"):
        assert holdout_mask(y, "mine").equal(holdout_mask(y, "mine"))
    assert not holdout_mask(y, "mine").equal(holdout_mask(y, "yours"))


def test_the_holdout_is_not_the_first_images_of_a_class():
    y = a_dataset((200, 200)).train_y
    mask = holdout_mask(y, "mine")
    for label in (0, 1):
        assert not mask[y == label][:20].all()


def test_the_smallest_class_is_in_both_parts():
    mask = holdout_mask(torch.tensor([0, 0, 0, 1, 1]), "mine")
    assert mask.sum() == 2
    assert mask[:3].sum() == 1
