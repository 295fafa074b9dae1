"""State of methods that changes during training: centres, landmarks, medians, layers, stages."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from test_equations import features, shapes

from benchmark.conformance.trial import Trial, train_one_epoch
from benchmark.training.loop import train
from methods import registry
from methods.contract import Batch, Clock


def test_kdas_centres_are_the_class_means_of_the_previous_epoch_and_an_absent_class_keeps_its_centre():
    method = registry.get("kda")(*shapes(*features(0, 2, 3, 5)[:2])).double()
    for epoch in range(3):
        method.begin_epoch(Clock("distill", epoch, 9))
        sums, counts = [[0.0] * 3 for _ in range(4)], [0] * 4
        before = method.centre_s.tolist()
        for step in range(3):
            s, t, batch = features(10 * epoch + step, 5, 3, 5)
            batch = Batch(batch.x, batch.y.clamp_min(1) if epoch else batch.y, batch.index)
            method.observe(s, t, batch)
            for row, y in zip(s.embedding.tolist(), batch.y.tolist(), strict=True):
                sums[y] = [a + b for a, b in zip(sums[y], row, strict=True)]
                counts[y] += 1
        method.begin_epoch(Clock("distill", epoch + 1, 9))
        for k in range(4):
            expected = [a / counts[k] for a in sums[k]] if counts[k] else before[k]
            assert method.centre_s[k].tolist() == pytest.approx(expected)
        assert method.count.sum() == 0


def test_kda_is_the_plain_student_during_its_warm_up():
    s, t, batch = features(0, 5, 3, 3)
    method = registry.get("kda")(*shapes(s, t), warm=5).double()
    for epoch, on in ((0, False), (4, False), (5, True)):
        method.begin_epoch(Clock("distill", epoch, 9))
        assert ("kda" in method.loss(s, t, batch)) == on


def test_kdas_random_landmarks_are_the_same_images_in_every_epoch_with_features_of_the_previous_epoch():
    method = registry.get("kda")(*shapes(*features(0, 2, 3, 5)[:2]), landmarks="random", m=4).double()
    order = [5, 2, 9, 0, 7, 1, 3, 8, 4, 6]
    for epoch in range(3):
        method.begin_epoch(Clock("distill", epoch, 9))
        if epoch:
            assert method.centre_s.tolist() == [before_s[i] for i in order[:4]]  # noqa: F821
            assert method.centre_t.tolist() == [before_t[i] for i in order[:4]]  # noqa: F821
        before_s, before_t = {}, {}
        sequence = order if epoch == 0 else sorted(order)
        for part in (sequence[:3], sequence[3:6], sequence[6:]):
            s, t, batch = features(10 * epoch + part[0], len(part), 3, 5)
            method.observe(s, t, Batch(batch.x, batch.y, torch.tensor(part)))
            before_s |= dict(zip(part, s.embedding.tolist(), strict=True))
            before_t |= dict(zip(part, t.embedding.tolist(), strict=True))
        assert method.image[:-1].tolist() == order[:4]


def test_kdas_number_of_landmarks_is_a_knob_if_they_are_random_and_the_number_of_classes_if_they_are_centres():
    pair = shapes(*features(0, 2, 3, 5)[:2])
    assert registry.get("kda")(*pair).centre_t.shape == (4, 5)
    assert registry.get("kda")(*pair, landmarks="random").centre_t.shape == (4, 5)
    assert registry.get("kda")(*pair, landmarks="random", m=9, at="classifier").centre_s.shape == (9, 4)
    with pytest.raises(ValueError, match="m = 9"):
        registry.get("kda")(*pair, m=9)


MEDIAN = """
import resource
import torch
from methods.contract import Shape
from methods.lsh import LSH, middle

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

torch.set_num_threads(1)
before = peak()
shape = Shape((), 2048, 1000)
method = LSH(shape, shape)
features = [torch.rand(500, 2048) for _ in range(100)]
found = middle(features, method.weight[:192], "median")
print(peak() - before, len(method.weight), len(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_lshs_median_over_50000_images_of_a_2048_wide_teacher_stays_below_a_gibibyte_with_hashes_and_features():
    done = subprocess.run([sys.executable, "-c", MEDIAN], capture_output=True, text=True, check=True)
    growth, hashes, columns = map(int, done.stdout.split())
    assert (hashes, columns) == (32 * 2048, 192)
    assert growth < 2**30


def test_lshs_median_bias_is_the_lower_median_of_each_hash_over_the_training_set(tmp_path):
    trial = Trial("lsh", "resnet14", "resnet8", tmp_path)
    lane = trial.lane()
    found = torch.cat([t.embedding for t, _ in lane._teacher_pass()]).double().numpy()
    hashes = np.sort(found @ lane.method.weight.double().numpy().T, axis=0)
    lower = hashes[(len(hashes) - 1) // 2]
    np.testing.assert_allclose(-lane.method.bias.numpy(), lower, rtol=1e-4, atol=1e-5)


def test_lsh_adds_a_layer_to_the_student_only_if_the_widths_differ(tmp_path):
    for teacher, added in (("resnet14", 0), ("wrn_16_2", 64 * 128 + 128 + (128 - 64) * 10)):
        trial = Trial("lsh", teacher, "resnet8", tmp_path)
        (record,) = train([trial.run], trial.context())
        assert record.status == "done", record.error
        assert record.size["added"] == added


def test_the_hint_stage_trains_only_the_layers_up_to_the_guided_one(tmp_path):
    lane = Trial("fitnets", "resnet14", "resnet8", tmp_path).lane()
    before = {name: p.detach().clone() for name, p in lane.student.named_parameters()}
    train_one_epoch(lane)
    assert lane.stage.name == "hint"
    for name, p in lane.student.named_parameters():
        is_below = name.startswith(("stem.", "stages.0.", "stages.1."))
        assert p.equal(before[name]) != is_below, name
