"""Inputs at which public code of the baselines gives no finite number, and its other faults; state, stages, limits."""

from dataclasses import replace

import pytest
import torch
from test_baseline_equations import example, method

from benchmark import models
from benchmark.conformance.method_summary import summarise_method
from benchmark.conformance.trial import PAIRS, Trial, train_one_epoch
from benchmark.experiment.suite import Pair, read_suite
from benchmark.training.lane import Lane
from methods import Outputs, Unfit, registry
from methods.contract import Batch, Clock, Shape

ONE_STAGE = ("at", "cc", "vid", "rkd", "pkt", "nst", "crd", "dkd", "reviewkd", "dist", "ofd")
TWO_STAGES = {"ab": "boundaries", "fsp": "flow", "ft": "paraphrase"}


def embeddings(s, t):
    """Outputs with these embeddings, the student's with a gradient, and a batch."""
    s, t = (torch.tensor(rows, dtype=torch.float32) for rows in (s, t))
    logits = torch.zeros(len(s), 2)
    y = torch.zeros(len(s), dtype=torch.int64)
    return Outputs([], s.requires_grad_(), logits), Outputs([], t, logits), Batch(logits, y, torch.arange(len(s)))


def term_and_gradient(name, s, t, batch, **knobs):
    """The sum of a method's terms without cross-entropy, and its gradient with respect to the student's embedding."""
    torch.manual_seed(0)
    terms = registry.get(name)(Shape.of(s), Shape.of(t), **knobs).loss(s, t, batch)
    total = sum(value for term, value in terms.items() if term != "ce")
    return total, torch.autograd.grad(total, s.embedding, allow_unused=True)[0]


POINTS = [[1.0, 0.0, 2.0], [0.0, 3.0, 1.0], [2.0, 2.0, 0.5], [0.5, 1.0, 0.0]]


@pytest.mark.parametrize("name", ["rkd", "pkt"])
@pytest.mark.parametrize("place", [[0.0, 0.0, 0.0], POINTS[1]], ids=["zero", "equal"])
@pytest.mark.parametrize("who", ["student", "teacher"])
def test_relations_of_equal_or_zero_embeddings_have_small_finite_gradients(name, place, who):
    odd = [place, *POINTS[1:3], place]
    s, t, batch = embeddings(odd if who == "student" else POINTS, odd if who == "teacher" else POINTS)
    value, gradient = term_and_gradient(name, s, t, batch)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e5


@pytest.mark.parametrize("name", ["rkd", "pkt"])
def test_relations_of_embeddings_that_are_all_equal_have_a_finite_value_and_no_gradient_of_any_size(name):
    s, t, batch = embeddings([POINTS[0]] * 4, POINTS)
    value, gradient = term_and_gradient(name, s, t, batch)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e3


@pytest.mark.parametrize(("name", "knobs"), [("rkd", {}), ("cc", {}), ("cc", {"form": "kernel"})], ids=str)
def test_a_batch_of_one_image_has_no_relations(name, knobs):
    s, t, batch = embeddings(POINTS[:1], POINTS[:1])
    value, gradient = term_and_gradient(name, s, t, batch, **knobs)
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert gradient is None or gradient.isfinite().all()


@pytest.mark.parametrize("gap", [88.0, 100.0, 420.0, 1e4])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dkd_is_finite_for_any_margin_of_logits_and_equals_itself_in_double_precision(gap, temperature):
    z_s = torch.tensor([[gap, 0.0, 1.0], [0.0, gap, 2.0]], requires_grad=True)
    z_t = torch.tensor([[1.0, 2.0, 0.5], [3.0, 0.0, 1.0]])
    y, filler = torch.tensor([0, 0]), torch.zeros(2, 1)
    method = registry.get("dkd")(temperature=temperature)
    found = []
    for dtype in (torch.float32, torch.float64):
        s, t = Outputs([], filler, z_s.to(dtype)), Outputs([], filler, z_t.to(dtype))
        terms = method.loss(s, t, Batch(filler, y, y))
        total = terms["tckd"] + terms["nckd"]
        found.append((total, torch.autograd.grad(total, z_s)[0]))
    for single, double in zip(*found, strict=True):
        assert single.isfinite().all()
        torch.testing.assert_close(single.double(), double.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-20, 1e-8, 1.0, 1e6, 1e18], ids=str)
def test_nst_is_that_of_channels_at_unit_length_for_maps_of_any_size_and_dead_channels(scale):
    generator = torch.Generator().manual_seed(0)
    x, f = (torch.rand(4, channels, 3, 3, generator=generator) for channels in (5, 6))
    x[:, 0], f[1] = 0, 0
    x *= scale
    single, double = x.clone().requires_grad_(), x.double().requires_grad_()
    filler, y = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    s, t = (Outputs([each, each], filler, filler) for each in (single, f))
    value = registry.get("nst")(beta=1.0).loss(s, t, Batch(x, y, y))["nst"]
    expected = nst_of_unit_channels(double, f.double())
    torch.testing.assert_close(value, expected.float(), rtol=1e-5, atol=1e-6)
    found, true = (torch.autograd.grad(v, leaf)[0] * scale for v, leaf in ((value, single), (expected, double)))
    torch.testing.assert_close(found, true.float(), rtol=1e-5, atol=1e-6)


def nst_of_unit_channels(x, f):
    """The term of maps (N, C, H, W) from channels that are normalised first."""
    a, b = (each.flatten(2) / each.flatten(2).norm(dim=2, keepdim=True).clamp_min(1e-12) for each in (x, f))
    kernel = [(u @ v.transpose(1, 2)).pow(2).mean() for u, v in ((b, b), (a, a), (a, b))]
    return kernel[0] + kernel[1] - 2 * kernel[2]


def test_vids_variances_are_trained_counted_and_saved(tmp_path):
    lane = Trial("vid", *PAIRS[0], tmp_path).lane()
    before = [scale.clone() for scale in lane.method.log_scales]
    train_one_epoch(lane)
    assert all(not a.equal(b) for a, b in zip(before, lane.method.log_scales, strict=True))
    saved = [name for name in lane.method.state_dict() if name.startswith("log_scales")]
    assert len(saved) == 3


def test_vids_variance_is_finite_for_any_parameter():
    s, t, batch = example(0)
    own = method("vid", s, t)
    for scale in own.log_scales:
        scale.data.fill_(1000.0)
    value = own.loss(s, t, batch)["vid"]
    assert value.isfinite()
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, list(own.log_scales)))


def test_a_linear_output_of_0_has_a_finite_contrast():
    s, t, batch = example(0)
    own = method("crd", s, t, width=4)
    own.embed_student.weight.data.zero_(), own.embed_student.bias.data.zero_()
    own.remember(torch.tensor([0, 1, 2, 3]))
    assert own.double().loss(s, t, batch)["crd"].isfinite()


# ---- crd's negatives
def crd(labels, k, seed=0, epoch=0):
    """A method with memories for these labels."""
    torch.manual_seed(seed)
    shape = Shape(((1, 1, 1),), 3, 10)
    own = registry.get("crd")(shape, shape, k=k)
    own.remember(torch.as_tensor(labels))
    own.begin_epoch(Clock("distill", epoch, 10))
    return own


def negatives(own, index):
    """The negatives of some images, (N, K)."""
    index = torch.as_tensor(index)
    return own.negatives(Batch(index, own.labels[index], index))


def test_negatives_are_different_images_of_other_classes_and_new_in_every_epoch_and_for_every_image():
    labels = torch.arange(1000) % 10
    own = crd(labels, 300)
    first = negatives(own, range(64))
    assert all(len(set(row.tolist())) == 300 for row in first)
    assert (labels[first] != labels[:64, None]).all()
    assert negatives(own, range(64)).equal(first)
    rows = [
        first[0],
        first[10],
        negatives(crd(labels, 300, epoch=1), [0])[0],
        negatives(crd(labels, 300, seed=1), [0])[0],
    ]
    for i, row in enumerate(rows):
        for other in rows[i + 1 :]:  # of 900, 300 each: 100 in common, with a standard deviation of 6.7
            assert 60 < len(set(row.tolist()) & set(other.tolist())) < 140


def test_every_image_of_another_class_is_drawn_as_often_as_chance_has_it():
    labels = torch.arange(500) % 5
    own = crd(labels, 100)
    places = torch.arange(0, 500, 5)  # of class 0
    counts = torch.zeros(500)
    for epoch in range(40):
        own.begin_epoch(Clock("distill", epoch, 40))
        counts += torch.bincount(negatives(own, places).flatten(), minlength=500)
    assert counts[labels == 0].sum() == 0
    drawn = counts[labels != 0]  # 4000 draws with chance 1/4: 1000, with a standard deviation of 27
    assert drawn.mean() == 1000
    assert (drawn - 1000).abs().max() < 5 * 27.4
    assert 20 < drawn.std() < 35


def test_a_small_training_set_gives_all_images_of_other_classes():
    own = crd([0, 0, 1, 2], 16_384)
    found = negatives(own, [0, 2])
    others = [set(row.tolist()) for row in found]
    assert others[0] >= {2, 3}
    assert others[1] == {0, 1, 3}


def test_crds_checkpoint_holds_memories_and_constants_and_not_what_follows_from_them(tmp_path):
    trial = Trial("crd", *PAIRS[0], tmp_path)
    lane = trial.lane()
    train_one_epoch(lane)
    layers = {f"embed_{who}.{part}" for who in ("student", "teacher") for part in ("weight", "bias")}
    assert set(lane.method.state_dict()) == {"z", "memory_s", "memory_t", *layers}
    torch.testing.assert_close(lane.method.memory_s.norm(dim=1), torch.ones(24))
    assert (lane.method.z > 0).all()


# ---- stages
@pytest.mark.parametrize(("name", "first"), TWO_STAGES.items())
def test_a_first_stage_lasts_an_eighth_of_the_recipe_in_addition_at_a_constant_rate(name, first, tmp_path):
    lane = Trial(name, *PAIRS[0], tmp_path).lane()
    assert [(stage.name, stage.epochs) for stage in lane.method.stages(240)] == [(first, 30), ("distill", 240)]
    assert [stage.epochs for stage in lane.method.stages(3)] == [1, 3]
    factor = 0.2 if name == "ft" else 1.0
    rates = []
    while lane.epoch < lane.epochs:
        train_one_epoch(lane)
        rates.append(lane.lr)
    assert rates == pytest.approx([0.01 * factor, 0.01, 0.01, 0.001])


def test_a_constant_rate_is_that_of_the_recipe_also_where_its_schedule_warms_up(tmp_path):
    trial = Trial("fsp", *PAIRS[0], tmp_path, {"flow_epochs": 2})
    recipe = trial.run.recipe.model_copy(
        update={"schedule": read_suite("kda").recipe.with_epochs(6).schedule, "epochs": 6}
    )
    lane = Lane(trial.run.model_copy(update={"recipe": recipe}), trial.context())
    lane.setup()
    train_one_epoch(lane)
    assert lane.lr == recipe.lr


def moved(lane, before):
    """The parameters that an epoch has changed."""
    return {name for name, p in parameters(lane).items() if not p.equal(before[name])}


def parameters(lane):
    """Parameters of student and method by name."""
    named = (("student", lane.student), ("method", lane.method))
    return {f"{who}.{name}": p.detach().clone() for who, module in named for name, p in module.named_parameters()}


@pytest.mark.parametrize("name", TWO_STAGES)
def test_each_stage_trains_its_own_parameters_only(name, tmp_path):
    lane = Trial(name, *PAIRS[0], tmp_path).lane()
    before = parameters(lane)
    train_one_epoch(lane)
    first, before = moved(lane, before), parameters(lane)
    train_one_epoch(lane)
    second = moved(lane, before)
    head = {"student.head.weight", "student.head.bias"}
    paraphraser = {each for each in before if each.startswith(("method.encoder", "method.decoder"))}
    assert first == (paraphraser if name == "ft" else set(before) - head)
    assert second == {each for each in before if each.startswith(("student", "method.translator"))}


# ---- which pairs they serve
@pytest.mark.parametrize("name", [*ONE_STAGE, *TWO_STAGES])
def test_the_pairs_of_the_crd_benchmark_are_served_as_its_table_has_them(name):
    unfit = set()
    for pair in read_suite("crd").pairs:
        student, teacher = (models.shape(network, 100) for network in (pair.student, pair.teacher))
        try:
            with torch.device("meta"):
                own = registry.get(name)(student, teacher)
                if name == "ofd":
                    own.prepare(None, models.build(pair.teacher, 100), None)
        except Unfit:
            unfit.add(f"{pair}")
    across = {"vgg13-MobileNetV2", "ResNet50-MobileNetV2", "ResNet50-vgg8", "resnet32x4-ShuffleV1"}
    across |= {"resnet32x4-ShuffleV2", "wrn_40_2-ShuffleV1"}
    assert unfit == (across | {"wrn_40_2-wrn_40_1"} if name == "fsp" else set())


COUNTS = {  # parameters that are trained and not deployed, as counted from the benchmark's own code
    "resnet56-resnet20": {"vid": 16_240, "cc": 16_640, "crd": 16_640, "ft": 64_896 + 129_312, "reviewkd": 114_278},
    "wrn_40_2-wrn_16_2": {"vid": 64_736, "cc": 33_024, "crd": 33_024, "ft": 258_816 + 516_672, "reviewkd": 453_830},
    "resnet32x4-ShuffleV1": {"vid": 495_040, "cc": 155_904, "crd": 155_904, "reviewkd": 4_607_366},
    "vgg13-vgg8": {"vid": 1_820_032, "cc": 131_328, "crd": 131_328, "reviewkd": 9_847_560},
}


@pytest.mark.parametrize("pair", COUNTS)
def test_they_train_as_many_parameters_beside_the_student_as_the_benchmarks_code(pair):
    for name, count in COUNTS[pair].items():
        assert summarise_method(name, Pair.model_validate(pair)).auxiliary == count, name


@pytest.mark.parametrize("name", ["at", "vid", "nst", "fsp", "ab", "ofd", "reviewkd"])
def test_networks_of_unequal_numbers_of_stages_are_not_served(name):
    with pytest.raises(Unfit, match="3 stages, the teacher 4"):
        registry.get(name)(models.shape("resnet8", 10), models.shape("vgg8", 10))


def test_a_teacher_without_batch_norm_before_its_last_relus_cannot_be_overhauled():
    own = models.shape("fitnet1", 10)
    overhaul = registry.get("ofd")(own, own)
    with pytest.raises(Unfit, match="no batch norm before the last ReLU"):
        overhaul.prepare(None, models.build("fitnet1", 10), None)


def test_reviewkds_term_warms_up_linearly():
    s, t, batch = example(0, n=2, teacher_sizes=((2, 4, 4), (3, 2, 2)))
    own = method("reviewkd", s, t)
    found = {}
    for epoch in (0, 9, 19, 100):
        own.begin_epoch(Clock("distill", epoch, 240))
        found[epoch] = own.loss(s, t, batch)["review"].item()
    assert [found[epoch] / found[100] for epoch in (0, 9, 19)] == pytest.approx([0.05, 0.5, 1.0])


def test_a_resumed_run_of_crd_draws_the_same_negatives(tmp_path):
    trial = Trial("crd", *PAIRS[0], tmp_path)
    context = replace(trial.context(), checkpoint_interval=0.0)
    lanes = [Lane(trial.run, context) for _ in range(2)]
    lanes[0].setup()
    train_one_epoch(lanes[0])
    lanes[1].setup()
    assert lanes[1].epoch == 1
    for lane in lanes:
        lane.begin_epoch(1)
    assert negatives(lanes[0].method, range(5)).equal(negatives(lanes[1].method, range(5)))
