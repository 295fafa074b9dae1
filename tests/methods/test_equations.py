"""Each loss against a slow implementation of its equation with loops, in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods import registry
from methods.contract import Batch, Clock, Outputs, Shape

sizes = st.sampled_from([1, 2, 5])
classes = st.integers(2, 7)
temperatures = st.sampled_from([1.0, 3.0, 4.0])


def outputs_of(logits):
    return Outputs([], logits, logits)


def softmax(row, temperature):
    weights = [math.exp(z / temperature) for z in row]
    return [w / sum(weights) for w in weights]


def cross_entropy(rows, labels):
    return -sum(math.log(softmax(row, 1.0)[y]) for row, y in zip(rows, labels, strict=True)) / len(rows)


def divergence(students, teachers, temperature):
    total = 0.0
    for s, t in zip(students, teachers, strict=True):
        p, q = softmax(t, temperature), softmax(s, temperature)
        total += sum(p_k * math.log(p_k / q_k) for p_k, q_k in zip(p, q, strict=True))
    return total / len(students)


def random_logits(seed, n, k):
    generator = torch.Generator().manual_seed(seed)
    s, t = (3 * torch.randn(n, k, generator=generator, dtype=torch.float64) for _ in range(2))
    y = torch.randint(0, k, (n,), generator=generator)
    return s, t, Batch(torch.zeros(n), y, torch.arange(n))


@given(st.integers(0, 99), sizes, classes)
def test_the_plain_student_minimises_the_mean_cross_entropy_of_the_labels(seed, n, k):
    s, _, batch = random_logits(seed, n, k)
    terms = registry.get("ce")().loss(outputs_of(s), None, batch)
    assert terms["ce"].item() == pytest.approx(cross_entropy(s.tolist(), batch.y.tolist()), rel=1e-9)


@given(st.integers(0, 99), sizes, classes, temperatures, st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_kd_weighs_cross_entropy_and_softened_divergence_times_temperature_squared(seed, n, k, temperature, alpha):
    s, t, batch = random_logits(seed, n, k)
    terms = registry.get("kd")(temperature=temperature, alpha=alpha).loss(outputs_of(s), outputs_of(t), batch)
    hard = (1 - alpha) * cross_entropy(s.tolist(), batch.y.tolist())
    soft = alpha * temperature**2 * divergence(s.tolist(), t.tolist(), temperature)
    assert terms["ce"].item() == pytest.approx(hard, rel=1e-9, abs=1e-12)
    assert terms["kd"].item() == pytest.approx(soft, rel=1e-9, abs=1e-12)


def test_the_temperature_knob_changes_the_loss():
    s, t, batch = random_logits(0, 5, 4)
    losses = {
        T: registry.get("kd")(temperature=T).loss(outputs_of(s), outputs_of(t), batch)["kd"].item()
        for T in (1.0, 4.0, 8.0)
    }
    assert len(set(losses.values())) == 3


def test_a_composition_adds_all_terms_and_counts_cross_entropy_once_with_the_weight_of_its_first_part():
    s, t, batch = random_logits(1, 5, 4)
    terms = registry.get("ce+kd")(None, None, **{"kd.alpha": 0.5}).loss(outputs_of(s), outputs_of(t), batch)
    assert terms["ce"].item() == pytest.approx(cross_entropy(s.tolist(), batch.y.tolist()))
    assert terms["kd"].item() == pytest.approx(0.5 * 16 * divergence(s.tolist(), t.tolist(), 4.0))


# ---- methods that use features
def features(seed, n, student_width, teacher_width, k=4):
    """Student's and teacher's outputs with maps of (width, 2, 2) and embeddings of (width,), float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    outputs = [Outputs([draw(n, w, 2, 2)], draw(n, w), draw(n, k)) for w in (student_width, teacher_width)]
    y = torch.randint(0, k, (n,), generator=generator)
    return *outputs, Batch(torch.zeros(n), y, torch.arange(n))


widths = st.integers(1, 6)
seeds = st.integers(0, 99)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def gram(rows):
    table = [[dot(a, b) for b in rows] for a in rows]
    return [[x / math.sqrt(dot(row, row)) for x in row] for row in table]


@given(seeds, sizes, widths, widths)
def test_sp_compares_row_normalised_gram_matrices(seed, n, student_width, teacher_width):
    s, t, batch = features(seed, n, student_width, teacher_width)
    g_s, g_t = (gram(o.maps[0].flatten(1).tolist()) for o in (s, t))
    expected = sum((a - b) ** 2 for p, q in zip(g_s, g_t, strict=True) for a, b in zip(p, q, strict=True)) / n**2
    found = registry.get("sp")(gamma=1.0).loss(s, t, batch)["sp"].item()
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(seeds, sizes, widths, widths, st.integers(1, 4), st.sampled_from([0.7, 2.0, "auto"]))
def test_lp_weighs_distances_between_the_students_images_by_those_between_the_teachers_neighbours(
    seed, n, student_width, teacher_width, k, sigma
):
    s, t, batch = features(seed, n, student_width, teacher_width)
    f_s, f_t = s.embedding.tolist(), t.embedding.tolist()

    def squared_distance(rows, i, j):
        return sum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True))

    k_used = min(k, n - 1)
    neighbours = {
        i: sorted((j for j in range(n) if j != i), key=lambda j, i=i: squared_distance(f_t, i, j))[:k_used]
        for i in range(n)
    }
    pairs = [(i, j) for i in range(n) for j in neighbours[i]]
    expected = 0.0
    if pairs:
        width = sum(squared_distance(f_t, i, j) for i, j in pairs) / len(pairs) if sigma == "auto" else sigma**2
        total = sum(math.exp(-squared_distance(f_t, i, j) / width) * squared_distance(f_s, i, j) for i, j in pairs)
        expected = total / (2 * n * k_used) / (width if sigma == "auto" else 1)
    found = registry.get("lp")(k=k, sigma=sigma, gamma=1.0).loss(s, t, batch)["lp"].item()
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def shapes(s, t):
    return Shape.of(s), Shape.of(t)


@given(seeds, sizes, widths, st.sampled_from(["l2", "lsh", "lshl2", "lshl2_s"]))
def test_lsh_compares_the_side_of_each_hyperplane_and_the_features(seed, n, width, variant):
    s, t, batch = features(seed, n, width, width)
    method = registry.get("lsh")(*shapes(s, t), variant=variant, hashes=7, beta=1.0).double()
    method.bias.copy_(torch.linspace(-1, 1, 7))
    each = []
    for f_s, f_t in zip(s.embedding.tolist(), t.embedding.tolist(), strict=True):
        l2 = sum((a - b) ** 2 for a, b in zip(f_s, f_t, strict=True)) / width
        bce = 0.0
        for w, b in zip(method.weight.tolist(), method.bias.tolist(), strict=True):
            p = 1 / (1 + math.exp(-(dot(w, f_s) + b)))
            bce -= math.log(p if dot(w, f_t) + b > 0 else 1 - p) / 7
        each.append({"l2": l2, "lsh": bce}.get(variant, l2 + bce))
    correct = [t.logits[i].argmax().item() == batch.y[i].item() for i in range(n)]
    kept = [e for e, ok in zip(each, correct, strict=True) if ok] if variant == "lshl2_s" else each
    expected = sum(kept) / len(kept) if kept else 0.0
    assert method.loss(s, t, batch)["lsh"].item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(seeds, sizes, widths, widths)
def test_kda_compares_kernels_between_images_and_class_centres(seed, n, student_width, teacher_width):
    s, t, batch = features(seed, n, student_width, teacher_width)
    method = registry.get("kda")(*shapes(s, t), alpha=1.0).double()
    generator = torch.Generator().manual_seed(seed)
    for centre in (method.centre_s, method.centre_t):
        centre.copy_(torch.randn(centre.shape, generator=generator, dtype=torch.float64))
    k_s = [[dot(f, c) for c in method.centre_s.tolist()] for f in s.embedding.tolist()]
    k_t = [[dot(f, c) for c in method.centre_t.tolist()] for f in t.embedding.tolist()]
    gaps = [abs(a - b) for p, q in zip(k_s, k_t, strict=True) for a, b in zip(p, q, strict=True)]
    huber = sum(gap**2 / 2 if gap < 1 else gap - 0.5 for gap in gaps)
    expected = huber / math.sqrt(sum(x * x for row in k_t for x in row))
    assert method.loss(s, t, batch)["kda"].item() == pytest.approx(expected, rel=1e-6)


def test_fitnets_second_stage_weighs_soft_classes_from_4_to_1_without_temperature_squared():
    s, t, batch = features(3, 5, 4, 4)
    method = registry.get("fitnets")(*shapes(s, t), guided=0, hint=0).double()
    for epoch, weight in ((0, 4.0), (5, 2.5), (10, 1.0)):
        method.begin_epoch(Clock("distill", epoch, 11))
        p, q = ([softmax(row, 3.0) for row in o.logits.tolist()] for o in (t, s))
        soft = -sum(a * math.log(b) for x, y in zip(p, q, strict=True) for a, b in zip(x, y, strict=True)) / 5
        assert method.loss(s, t, batch)["soft"].item() == pytest.approx(weight * soft)


def patches(image, height, width, kernel, stride, padding):
    """Each position of a convolution: row, column, and the values of the (C, H, W) nested list under the kernel."""
    for row in range(height):
        for column in range(width):
            patch = []
            for plane in image:
                for i in range(kernel):
                    for j in range(kernel):
                        y, x = row * stride + i - padding, column * stride + j - padding
                        inside = 0 <= y < len(plane) and 0 <= x < len(plane[0])
                        patch.append(plane[y][x] if inside else 0.0)
            yield row, column, patch


def convolve(convolution, images, height, width, kernel, stride, padding):
    """A convolution with loops; returns nested lists: image, channel, row, column."""
    weights, biases = convolution.weight.flatten(1).tolist(), convolution.bias.tolist()
    found = [[[[0.0] * width for _ in range(height)] for _ in weights] for _ in images]
    for n, image in enumerate(images):
        for row, column, patch in patches(image, height, width, kernel, stride, padding):
            for o, (w, b) in enumerate(zip(weights, biases, strict=True)):
                found[n][o][row][column] = dot(w, patch) + b
    return found


def values(tables):
    """Every number of one channel over all images."""
    return [x for image in tables for plane in image for row in plane for x in row]


def batch_norm_relu(found):
    """Batch norm with scale 1 and shift 0, then ReLU, channel by channel."""
    activated = []
    for channel in range(len(found[0])):
        channel_values = values([[image[channel]] for image in found])
        mean = sum(channel_values) / len(channel_values)
        spread = math.sqrt(sum((x - mean) ** 2 for x in channel_values) / len(channel_values) + 1e-5)
        activated.append([[[max(0.0, (x - mean) / spread) for x in row] for row in image[channel]] for image in found])
    return [list(planes) for planes in zip(*activated, strict=True)]


def maxout(found):
    """The maximum of channel c and channel c + C."""
    half = len(found[0]) // 2
    return [
        [
            [[max(p, q) for p, q in zip(a, b, strict=True)] for a, b in zip(image[c], image[c + half], strict=True)]
            for c in range(half)
        ]
        for image in found
    ]


@given(seeds, sizes, st.integers(1, 3), st.integers(1, 3), st.sampled_from(["hint", "conv", "maxout"]))
def test_hint_losses_compare_the_regressed_guided_map_with_the_hint(seed, n, student_width, teacher_width, kind):
    generator = torch.Generator().manual_seed(seed)
    # From 4 x 4 to half the size, or without padding.
    height, kernel, stride, padding = (2, 3, 2, 1) if seed % 2 else (3, 2, 1, 0)
    guided = torch.randn(n, student_width, 4, 4, generator=generator, dtype=torch.float64)
    hint = torch.randn(n, teacher_width, height, height, generator=generator, dtype=torch.float64)
    logits = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    s, t = Outputs([guided], logits, logits), Outputs([hint], logits, logits)
    batch = Batch(logits, torch.zeros(n, dtype=torch.int64), torch.arange(n))
    if kind == "hint":
        method = registry.get("hint")(*shapes(s, t), guided=0, hint=0, beta=1.0).double()
        term = method.loss(s, t, batch)["hint"]
    else:
        method = registry.get("fitnets")(*shapes(s, t), guided=0, hint=0, regressor=kind).double()
        term = method.hint_loss(s, t, batch)["hint"] * 2
    found = convolve(method.regressor[0], guided.tolist(), height, height, kernel, stride, padding)
    activated = maxout(found) if kind == "maxout" else batch_norm_relu(found)
    pairs = zip(values(activated), values(hint.tolist()), strict=True)
    assert term.item() == pytest.approx(sum((a - b) ** 2 for a, b in pairs) / hint.numel(), rel=1e-6)
