"""Further baselines against slow readings of their equations, with loops over numbers, in float64."""

import math

import pytest
import torch
from test_equations import convolve, cross_entropy, dot, softmax, values

from methods import registry
from methods.contract import Batch, Clock, Outputs, Shape

SEEDS = pytest.mark.parametrize("seed", range(3))
SIZES = ((3, 4, 4), (2, 2, 2))  # of the student's stages, channels first
TEACHER_SIZES = ((2, 2, 2), (4, 2, 2))
CLASSES = 4


def example(seed, n=3, sizes=SIZES, teacher_sizes=TEACHER_SIZES, widths=(3, 4)):
    """Outputs of student and teacher with a stem and some stages, and a batch, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    found = []
    for shapes, width in ((sizes, widths[0]), (teacher_sizes, widths[1])):
        maps = [draw(n, *shape) for shape in ((2, 4, 4), *shapes)]
        found.append(Outputs(maps, draw(n, width), 3 * draw(n, CLASSES), [draw(n, *shape) for shape in shapes]))
    y = torch.randint(0, CLASSES, (n,), generator=generator)
    return *found, Batch(y, y, torch.arange(n))


def method(name, s, t, **knobs):
    """The method for these outputs, in float64."""
    torch.manual_seed(0)
    return registry.get(name)(Shape.of(s), Shape.of(t), **knobs).double()


def pooled(image, height, width):
    """An image (C, H, W) of nested lists, averaged over blocks."""
    down, across = len(image[0]) // height, len(image[0][0]) // width
    return [
        [
            [
                sum(plane[r * down + i][c * across + j] for i in range(down) for j in range(across)) / (down * across)
                for c in range(width)
            ]
            for r in range(height)
        ]
        for plane in image
    ]


def both_pooled(f_s, f_t):
    """Nested lists of two maps, pooled to the smaller size."""
    height, width = (min(f_s.shape[d], f_t.shape[d]) for d in (2, 3))
    return tuple([pooled(image, height, width) for image in f.tolist()] for f in (f_s, f_t))


def planes(image):
    """The channels of an image as lists of numbers."""
    return [[x for row in plane for x in row] for plane in image]


def unit(row):
    length = math.sqrt(dot(row, row))
    return [x / length for x in row]


def norms(convolution_values, norm):
    """Batch norm of nested lists (image, channel, row, column) with its weight and bias."""
    found = [[] for _ in convolution_values]
    for channel in range(len(convolution_values[0])):
        numbers = values([[image[channel]] for image in convolution_values])
        mean = sum(numbers) / len(numbers)
        spread = math.sqrt(sum((x - mean) ** 2 for x in numbers) / len(numbers) + 1e-5)
        scale, shift = norm.weight[channel].item(), norm.bias[channel].item()
        for own, image in zip(found, convolution_values, strict=True):
            own.append([[(x - mean) / spread * scale + shift for x in row] for row in image[channel]])
    return found


def mean(numbers):
    numbers = list(numbers)
    return sum(numbers) / len(numbers)


@SEEDS
def test_at_compares_where_maps_are_active(seed):
    s, t, batch = example(seed)
    expected = 0.0
    for f_s, f_t in zip(s.maps[1:], t.maps[1:], strict=True):
        maps = [[unit([mean(x**2 for x in place) for place in zip(*planes(i), strict=True)]) for i in f]
                for f in both_pooled(f_s, f_t)]  # fmt: skip
        expected += mean((a - b) ** 2 for p, q in zip(*maps, strict=True) for a, b in zip(p, q, strict=True))
    terms = method("at", s, t, beta=1.0).loss(s, t, batch)
    assert terms["at"].item() == pytest.approx(expected)
    assert terms["ce"].item() == pytest.approx(cross_entropy(s.logits.tolist(), batch.y.tolist()))


@SEEDS
def test_nst_compares_channels_with_the_square_of_their_inner_products(seed):
    s, t, batch = example(seed)
    expected = 0.0
    for f_s, f_t in zip(s.maps[1:], t.maps[1:], strict=True):
        phi_s, phi_t = ([list(map(unit, planes(i))) for i in f] for f in both_pooled(f_s, f_t))
        for weight, one, other in ((1, phi_t, phi_t), (1, phi_s, phi_s), (-2, phi_s, phi_t)):
            kernel = (dot(a, b) ** 2 for p, q in zip(one, other, strict=True) for a in p for b in q)
            expected += weight * mean(kernel)
    assert method("nst", s, t, beta=1.0).loss(s, t, batch)["nst"].item() == pytest.approx(expected)


def huber(x):
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


@SEEDS
def test_rkd_compares_distances_and_angles(seed):
    s, t, batch = example(seed, n=4)
    found = []
    for rows in (s.embedding.tolist(), t.embedding.tolist()):
        n = range(len(rows))
        gap = {(i, j): [b - a for a, b in zip(rows[i], rows[j], strict=True)] for i in n for j in n}
        length = {key: math.sqrt(dot(g, g)) for key, g in gap.items()}
        middle = sum(length.values()) / (len(rows) * (len(rows) - 1))
        u = {key: [x / length[key] for x in g] if length[key] else g for key, g in gap.items()}
        angles = [dot(u[i, j], u[i, k]) for i in n for j in n for k in n]
        found.append(([d / middle for d in length.values()], angles))
    distance, angle = (mean(huber(a - b) for a, b in zip(p, q, strict=True)) for p, q in zip(*found, strict=True))
    terms = method("rkd", s, t).loss(s, t, batch)
    assert terms["distance"].item() == pytest.approx(25 * distance)
    assert terms["angle"].item() == pytest.approx(50 * angle)


@SEEDS
def test_pkt_compares_the_probabilities_of_neighbours(seed):
    s, t, batch = example(seed, n=4)
    tables = []
    for rows in (s.embedding.tolist(), t.embedding.tolist()):
        k = [[(dot(unit(a), unit(b)) + 1) / 2 for b in rows] for a in rows]
        tables.append([x / sum(row) for row in k for x in row])
    expected = mean(p * math.log((p + 1e-7) / (q + 1e-7)) for q, p in zip(*tables, strict=True))
    assert method("pkt", s, t, beta=1.0).loss(s, t, batch)["pkt"].item() == pytest.approx(expected, rel=1e-5)


def linear(layer, rows):
    return [[dot(w, row) + b for w, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)] for row in rows]


@SEEDS
@pytest.mark.parametrize("form", ["neighbours", "kernel"])
def test_cc_compares_how_images_correlate(seed, form):
    s, t, batch = example(seed, n=4)
    own = method("cc", s, t, beta=1.0, width=5, form=form)
    layers = ((own.embed_student, s), (own.embed_teacher, t))
    f_s, f_t = (linear(layer, o.embedding.tolist()) for layer, o in layers)
    if form == "neighbours":
        d = [[abs(a - b) for a, b in zip(p, q, strict=True)] for p, q in zip(f_s, f_t, strict=True)]
        expected = sum(dot(d[i], d[i + 1]) for i in range(3)) / 3
    else:

        def kernel(a, b):
            c = dot(unit(a), unit(b))
            return math.exp(-0.8) * (1 + 0.8 * c + 0.8**2 / 2 * c**2)

        gaps = [kernel(f_s[i], f_s[j]) - kernel(f_t[i], f_t[j]) for i in range(4) for j in range(4)]
        expected = math.sqrt(sum(gap**2 for gap in gaps)) / 16
    assert own.loss(s, t, batch)["cc"].item() == pytest.approx(expected)


@SEEDS
def test_vid_is_the_surprise_of_a_gaussian_about_the_teachers_map(seed):
    s, t, batch = example(seed)
    own = method("vid", s, t, beta=1.0)
    expected = 0.0
    for f_s, f_t, layers, scale in zip(s.maps[1:], t.maps[1:], own.regressors, own.log_scales, strict=True):
        scale.data += torch.linspace(-1, 1, len(scale))
        weights = [layers[i].weight.flatten(1).tolist() for i in (0, 2, 4)]
        total = []
        for image_s, image_t in zip(*both_pooled(f_s, f_t), strict=True):
            for a, b in zip(zip(*planes(image_s), strict=True), zip(*planes(image_t), strict=True), strict=True):
                hidden = [max(0.0, dot(w, a)) for w in weights[0]]
                hidden = [max(0.0, dot(w, hidden)) for w in weights[1]]
                for c, w in enumerate(weights[2]):
                    v = math.log(1 + math.exp(scale[c].item())) + 1e-5
                    total.append(((dot(w, hidden) - b[c]) ** 2 / v + math.log(v)) / 2)
        expected += mean(total)
    assert own.loss(s, t, batch)["vid"].item() == pytest.approx(expected, rel=1e-6)


def test_vid_starts_with_a_variance_of_5():
    s, t, _ = example(0)
    for scale in method("vid", s, t).log_scales:
        assert [math.log(1 + math.exp(r)) + 1e-5 for r in scale.tolist()] == pytest.approx([5.0] * len(scale), rel=1e-6)


@SEEDS
def test_fsp_compares_inner_products_of_neighbouring_maps_and_then_learns_from_labels_alone(seed):
    s, t, batch = example(seed, teacher_sizes=SIZES)
    expected = 0.0
    for i in range(2):
        matrices = []
        for o in (s, t):
            images = []
            for x, y in zip(*both_pooled(o.maps[i], o.maps[i + 1]), strict=True):
                images += [dot(a, b) / len(a) for b in planes(y) for a in planes(x)]
            matrices.append(images)
        expected += mean((a - b) ** 2 for a, b in zip(*matrices, strict=True))
    own = method("fsp", s, t)
    assert own.flow_loss(s, t, batch)["fsp"].item() == pytest.approx(expected)
    assert list(own.loss(s, t, batch)) == ["ce"]


def leaky(images):
    return [[[[x if x > 0 else 0.1 * x for x in row] for row in plane] for plane in image] for image in images]


@pytest.mark.parametrize("form", ["attention", "factor"])
def test_ft_compares_translated_and_paraphrased_factors(form):
    s, t, batch = example(0)
    own = method("ft", s, t, beta=1.0, form=form)
    factor_s, factor_t = s.maps[-1].tolist(), t.maps[-1].tolist()
    for i in (0, 2, 4):
        factor_t = leaky(convolve(own.encoder[i], factor_t, 2, 2, 3, 1, 1))
    for i in (0, 3, 6):
        factor_s = leaky(norms(convolve(own.translator[i], factor_s, 2, 2, 3, 1, 1), own.translator[i + 1]))

    def q(image):
        rows = planes(image)
        whole = [mean(x**2 for x in place) for place in zip(*rows, strict=True)]
        return unit(whole if form == "attention" else [x for row in rows for x in row])

    pairs = zip(factor_s, factor_t, strict=True)
    expected = mean(abs(x - y) for a, b in pairs for x, y in zip(q(a), q(b), strict=True))
    assert own.loss(s, t, batch)["ft"].item() == pytest.approx(expected, rel=1e-6)


def test_fts_first_stage_is_the_mean_squared_error_of_the_restored_map():
    s, t, batch = example(0)
    own = method("ft", s, t)
    restored = own.decoder(own.encoder(t.maps[-1]))
    pairs = zip(values(restored.tolist()), values(t.maps[-1].tolist()), strict=True)
    (value,) = own.paraphrase_loss(s, t, batch).values()
    assert value.item() == pytest.approx(mean((a - b) ** 2 for a, b in pairs))


@SEEDS
def test_ab_punishes_neurons_on_the_wrong_side_of_0_or_within_the_margin(seed):
    sizes = ((2, 4, 4), (3, 2, 2))  # the first needs a connector, the second does not
    s, t, batch = example(seed, sizes=sizes, teacher_sizes=((3, 4, 4), (3, 2, 2)))
    own = method("ab", s, t)
    assert isinstance(own.connectors[1], torch.nn.Identity)
    found = convolve(own.connectors[0][0], s.preactivations[0].tolist(), 4, 4, 1, 1, 0)
    maps = (norms(found, own.connectors[0][1]), s.preactivations[1].tolist())
    expected = 0.0
    for weight, ours, theirs in zip((0.5, 1.0), maps, t.preactivations, strict=True):
        for a, b in zip(values(ours), values(theirs.tolist()), strict=True):
            expected += 0.003 * weight * max(0.0, 1 - (a if b > 0 else -a)) ** 2 / 3
    assert own.boundary_loss(s, t, batch)["ab"].item() == pytest.approx(expected)
    assert list(own.loss(s, t, batch)) == ["ce"]


@SEEDS
def test_ofd_compares_values_above_the_margins_of_the_teacher(seed):
    sizes = ((2, 4, 4), (3, 2, 2))
    s, t, batch = example(seed, sizes=sizes, teacher_sizes=((3, 4, 4), (2, 2, 2)))
    own = method("ofd", s, t, beta=1.0)
    teacher = torch.nn.Module()
    teacher.last_norms = [torch.nn.BatchNorm2d(3).double(), torch.nn.BatchNorm2d(2).double()]
    for norm in teacher.last_norms:
        norm.weight.data = torch.tensor([-0.7, 0.2, 1.3][: len(norm.weight)], dtype=torch.float64)
        norm.bias.data = torch.tensor([0.1, 2.0, -0.4][: len(norm.bias)], dtype=torch.float64)
    own.prepare(None, teacher, None)
    expected = 0.0
    stages = zip((0.5, 1.0), s.preactivations, t.preactivations, own.connectors, teacher.last_norms, strict=True)
    for weight, f_s, f_t, connector, norm in stages:
        linear_part = [[[[sum(w * x for w, x in zip(row, place, strict=True)) for place in zip(*line, strict=True)]
                         for line in zip(*image, strict=True)] for row in connector[0].weight.flatten(1).tolist()]
                       for image in f_s.tolist()]  # fmt: skip
        for ours, theirs in zip(norms(linear_part, connector[1]), f_t.tolist(), strict=True):
            for c, (p, q) in enumerate(zip(planes(ours), planes(theirs), strict=True)):
                low = margin(abs(norm.weight[c].item()), norm.bias[c].item())
                for x, f in zip(p, q, strict=True):
                    target = max(f, low)
                    expected += weight * ((x - target) ** 2 if x > target or f > 0 else 0.0) / 3
    assert own.loss(s, t, batch)["ofd"].item() == pytest.approx(expected, rel=1e-4)


def margin(spread, middle):
    """The mean of the negative values of a normal distribution, by adding up its density; -3 s where there are few."""
    steps = 100_000
    low, width = middle - 12 * spread, 24 * spread / steps
    points = [low + (i + 0.5) * width for i in range(steps)]
    weights = [math.exp(-((x - middle) ** 2) / (2 * spread**2)) for x in points if x < 0]
    share = sum(weights) * width / (spread * math.sqrt(2 * math.pi))
    return sum(w * x for w, x in zip(weights, points, strict=False)) / sum(weights) if share > 0.001 else -3 * spread


@SEEDS
def test_crd_contrasts_images_with_memories_and_then_moves_these(seed):
    s, t, batch = example(seed, n=3)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    batch = Batch(batch.x, torch.tensor([2, 0, 3]), torch.tensor([2, 4, 3]))
    own = method("crd", s, t, beta=1.0, width=4, k=2)
    own.remember(labels)
    own.double()
    own.begin_epoch(Clock("distill", 0, 1))
    own.z.copy_(torch.tensor([9.0, 0.0]))  # known for one side, still to be found for the other
    u, v = (list(map(unit, linear(layer, o.embedding.tolist())))
            for layer, o in ((own.embed_student, s), (own.embed_teacher, t)))  # fmt: skip
    chosen = own.negatives(batch).tolist()
    expected = 0.0
    for anchors, memory, known in ((u, own.memory_t.tolist(), 9.0), (v, own.memory_s.tolist(), None)):
        scores = [[math.exp(dot(a, memory[j]) / 0.07) for j in [i, *others]]
                  for a, i, others in zip(anchors, (2, 4, 3), chosen, strict=True)]  # fmt: skip
        z = known or 6 * mean(x for row in scores for x in row)
        for own_score, *rest in scores:
            p, share = own_score / z, 2 / 6
            expected -= math.log(p / (p + share + 1e-7)) / 3
            expected -= sum(math.log(share / (x / z + share + 1e-7)) for x in rest) / 3
    assert own.loss(s, t, batch)["crd"].item() == pytest.approx(expected, rel=1e-6)
    before = own.memory_s.tolist()
    with torch.no_grad():
        own.observe(s, t, batch)
    for i, row in zip((2, 4, 3), u, strict=True):
        before[i] = unit([0.5 * a + 0.5 * b for a, b in zip(before[i], row, strict=True)])
    torch.testing.assert_close(own.memory_s, torch.tensor(before, dtype=torch.float64))


@SEEDS
def test_dkd_separates_the_target_class_from_the_others(seed):
    s, t, batch = example(seed)
    target = others = 0.0
    for z_s, z_t, y in zip(s.logits.tolist(), t.logits.tolist(), batch.y.tolist(), strict=True):
        p_s, p_t = softmax(z_s, 4.0), softmax(z_t, 4.0)
        for a, b in ((p_s[y], p_t[y]), (1 - p_s[y], 1 - p_t[y])):
            target += 16 * b * math.log(b / a) / 3
        q_s, q_t = ([p[c] / (1 - p[y]) for c in range(CLASSES) if c != y] for p in (p_s, p_t))
        others += sum(16 * b * math.log(b / a) / 3 for a, b in zip(q_s, q_t, strict=True))
    own = method("dkd", s, t, beta=8.0)
    for epoch, weight in ((0, 1 / 20), (9, 0.5), (19, 1.0), (200, 1.0)):
        own.begin_epoch(Clock("distill", epoch, 240))
        terms = own.loss(s, t, batch)
        assert terms["tckd"].item() == pytest.approx(weight * target)
        assert terms["nckd"].item() == pytest.approx(8 * weight * others)


@SEEDS
def test_dist_is_one_minus_the_correlation_of_rows_and_of_columns(seed):
    s, t, batch = example(seed)
    p_s, p_t = ([softmax(row, 4.0) for row in o.logits.tolist()] for o in (s, t))

    def correlation(a, b):
        a, b = ([x - mean(row) for x in row] for row in (a, b))
        return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))

    inter = 1 - mean(correlation(a, b) for a, b in zip(p_s, p_t, strict=True))
    columns = zip(zip(*p_s, strict=True), zip(*p_t, strict=True), strict=True)
    intra = 1 - mean(correlation(a, b) for a, b in columns)
    terms = method("dist", s, t).loss(s, t, batch)
    assert terms["inter"].item() == pytest.approx(2 * 16 * inter, rel=1e-5)
    assert terms["intra"].item() == pytest.approx(2 * 16 * intra, rel=1e-5)


def test_reviewkd_fuses_deeper_maps_into_shallower_ones_and_compares_them_at_every_size():
    s, t, batch = example(0, n=2, teacher_sizes=((2, 4, 4), (3, 2, 2)))
    own = method("reviewkd", s, t, beta=1.0, warm=0)
    own.begin_epoch(Clock("distill", 0, 1))
    inputs = [s.embedding[:, :, None, None], s.maps[2], s.maps[1]]
    targets = [t.embedding[:, :, None, None], t.preactivations[1], t.preactivations[0]]
    expected, below = 0.0, None
    for level, f, target in zip(own.levels, inputs, targets, strict=True):
        side = f.shape[2]
        found = convolve(with_bias(level.enter[0]), f.tolist(), side, side, 1, 1, 0)
        x = norms(found, level.enter[1])
        if below is not None:
            x = [fused(a, b, level.gate) for a, b in zip(x, below, strict=True)]
        below = x
        o = norms(convolve(with_bias(level.leave[0]), x, side, side, 3, 1, 1), level.leave[1])
        expected += hierarchical(o, target.tolist())
    assert own.loss(s, t, batch)["review"].item() == pytest.approx(expected, rel=1e-6)


def with_bias(convolution):
    """The same convolution with a bias of 0, as `convolve` reads one."""
    found = torch.nn.Conv2d(1, 1, 1)
    found.weight, found.bias = convolution.weight, torch.nn.Parameter(torch.zeros(len(convolution.weight)))
    return found


def fused(x, y, gate):
    """g₁ x + g₂ y of one image, place by place; y is the smaller image of the level below, its values repeated."""
    side, times = len(x[0]), len(x[0]) // len(y[0])
    found = [[[0.0] * side for _ in range(side)] for _ in x]
    for r in range(side):
        for c in range(side):
            here = [plane[r][c] for plane in x]
            deeper = [plane[r // times][c // times] for plane in y]
            weights = zip(gate.weight.flatten(1).tolist(), gate.bias.tolist(), strict=True)
            g = [1 / (1 + math.exp(-(dot(w, here + deeper) + b))) for w, b in weights]
            for k, (a, b) in enumerate(zip(here, deeper, strict=True)):
                found[k][r][c] = g[0] * a + g[1] * b
    return found


def hierarchical(ours, theirs):
    """The mean squared error at full size and after pooling to 4, 2 and 1, each weighing half of the one before."""
    side, total, weights, weight = len(ours[0][0]), 0.0, 0.0, 1.0
    for size in (side, *(each for each in (4, 2, 1) if each < side)):
        pairs = [(pooled(a, size, size), pooled(b, size, size)) for a, b in zip(ours, theirs, strict=True)]
        numbers = [(p, q) for a, b in pairs for p, q in zip(values([a]), values([b]), strict=True)]
        total += weight * mean((p - q) ** 2 for p, q in numbers)
        weights += weight
        weight /= 2
    return total / weights
