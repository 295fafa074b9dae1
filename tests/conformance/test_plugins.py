"""Plug-ins (methods from outside the repository) and compositions of methods."""

import pytest
import torch
import torch.nn.functional as F

from benchmark.cli.listing import describe, methods_named, open_plugins
from benchmark.errors import BadInput
from benchmark.experiment.resolve import resolve_knobs
from methods import registry
from methods.contract import Batch, Clock, Method, Outputs, Stage
from methods.registry import Knob, register

SOURCE = '''"""Attention to nothing.  Somebody, 2030."""

from methods import Method, register


@register("{name}")
class Outside(Method):
    def __init__(self, student, teacher, *, weight: float = 2.0, deep: bool = False):
        super().__init__()

    def loss(self, s, t, batch):
        return {{"{name}": s.logits.sum()}}
'''

OUTSIDE = SOURCE.format(name="outside")


@pytest.fixture
def plugin(tmp_path, isolated_registry):
    """A function: a file's name and text -> its path, outside the repository."""

    def write(name="outside_a.py", text=OUTSIDE):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def refused(*plugins):
    """The one-line message with which plug-ins are refused."""
    with pytest.raises(BadInput) as caught:
        open_plugins(map(str, plugins))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- loading
def test_a_file_outside_the_repository_registers_by_its_path(plugin):
    path = plugin()
    open_plugins([str(path)])
    assert "outside" in registry.names()
    assert registry.source(registry.get("outside")) == path
    assert registry.knobs("outside") == {"weight": Knob(float, 2.0), "deep": Knob(bool, False)}
    assert registry.docstring("outside") == "Attention to nothing.  Somebody, 2030."
    assert "outside    Attention to nothing." in describe("methods")


def test_a_module_registers_by_its_name(plugin, monkeypatch):
    monkeypatch.syspath_prepend(plugin().parent)
    open_plugins(["outside_a"])
    assert "outside" in registry.names()


def test_an_installed_package_registers_by_its_entry_point(plugin, monkeypatch):
    folder = plugin().parent
    package = folder / "outside-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[kd.methods]\noutside = outside_a\n")
    monkeypatch.syspath_prepend(folder)
    open_plugins()
    assert "outside" in registry.names()


def test_loading_a_file_again_changes_nothing(plugin):
    path = plugin()
    open_plugins([str(path), str(path)])
    first = registry.get("outside")
    open_plugins([f"{path.parent}/../{path.parent.name}/{path.name}"])
    assert registry.get("outside") is first


def test_a_path_names_all_methods_of_its_file(plugin):
    path = plugin(text=SOURCE.format(name="one") + SOURCE.format(name="two").split("register\n", 1)[1])
    assert methods_named(str(path)) == ["one", "two"]


def test_a_plug_in_without_a_docstring_is_listed_too(plugin):
    open_plugins([str(plugin(text=OUTSIDE.split('"""', 2)[2]))])
    assert "outside" in describe("methods")


def test_knobs_of_a_plug_in_are_validated_like_those_of_built_in_methods(plugin):
    open_plugins([str(plugin())])
    assert resolve_knobs("outside", {"weight": 3, "deep": "yes"}) == {"weight": 3.0, "deep": True}
    with pytest.raises(BadInput, match="unknown knob 'wieght' of method 'outside'; did you mean 'weight'"):
        resolve_knobs("outside", {"wieght": 3})
    with pytest.raises(BadInput, match="knob 'deep' of method 'outside'"):
        resolve_knobs("outside", {"deep": "perhaps"})


# ---- refusals
def test_a_second_plug_in_of_the_same_name_is_refused_naming_both_files(plugin):
    first, second = plugin("outside_a.py"), plugin("outside_b.py")
    open_plugins([str(first)])
    kept = registry.get("outside")
    sentence = refused(second)
    assert "'outside'" in sentence
    assert str(first) in sentence
    assert str(second) in sentence
    assert registry.get("outside") is kept


def test_built_in_methods_cannot_be_replaced(plugin):
    path = plugin(text=SOURCE.format(name="kd"))
    sentence = refused(path)
    assert "methods/kd.py" in sentence
    assert str(path) in sentence


def test_two_classes_of_one_file_cannot_share_a_name(plugin):
    twice = OUTSIDE + OUTSIDE.split("register\n", 1)[1].replace("Outside", "Other")
    assert "'outside'" in refused(plugin(text=twice))


BROKEN = {
    "syntax": ("def (", "SyntaxError"),
    "import": ("import nothing_of_this_name", "nothing_of_this_name"),
    "raises": ("raise RuntimeError('half\\nway')", "RuntimeError"),
    "no type": (OUTSIDE.replace("weight: float", "weight"), "'weight' of 'outside' needs a type"),
    "no default": (OUTSIDE.replace(" = 2.0", ""), "'weight' of 'outside' needs a type"),
    "name": (SOURCE.format(name="a+b"), "'a+b' cannot name a method"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plug_in_is_refused_in_one_line_and_registers_nothing(plugin, kind):
    text, reason = BROKEN[kind]
    path, before = plugin(text=text), registry.names()
    sentence = refused(path)
    assert str(path) in sentence
    assert reason in sentence
    assert registry.names() == before


@pytest.mark.parametrize("name", ["nowhere.py", "nothing_of_this_name", "./nothing", "notes.txt"])
def test_a_plug_in_that_does_not_exist_is_refused_by_name(name, isolated_registry):
    assert f"--plugin {name}" in refused(name)


# ---- composition
N, K, D = 4, 3, 5
ONES = Outputs((torch.ones(N, 2, 3, 3),), torch.ones(N, D), torch.arange(float(N * K)).reshape(N, K))
BATCH = Batch(torch.ones(N, 3, 3, 3), torch.arange(N) % K, torch.arange(N))


@pytest.fixture
def parts(isolated_registry):
    """The calls to two methods: `mild` weights cross-entropy by 0.5, `staged` has a warm-up stage."""
    calls = []

    @register("mild")
    class Mild(Method):
        def __init__(self, student, teacher, *, weight: float = 2.0):
            super().__init__()
            self.weight = weight

        def loss(self, s, t, batch):
            return {"ce": 0.5 * F.cross_entropy(s.logits, batch.y), "mild": self.weight * s.embedding.sum()}

        def prepare(self, student, teacher, sweep):
            calls.append(("mild", "prepare"))

        def begin_epoch(self, clock):
            calls.append(("mild", clock))

        def observe(self, s, t, batch):
            calls.append(("mild", "observe"))

    @register("staged")
    class Staged(Mild):
        def stages(self, epochs):
            return [Stage("warm", 2, self.warm), Stage("distill", epochs, self.loss)]

        def warm(self, s, t, batch):
            return {"warm": s.embedding.mean()}

        def loss(self, s, t, batch):
            return {"ce": F.cross_entropy(s.logits, batch.y), "staged": self.weight * s.logits.sum()}

    return calls


def build_method(name, **knobs):
    return registry.get(name)(None, None, **knobs)


@pytest.mark.parametrize(("name", "weight"), [("mild+kd", 0.5), ("kd+mild", 0.1), ("staged+mild+kd", 1.0)])
def test_a_composition_has_the_terms_of_all_parts_and_the_cross_entropy_of_the_first(parts, name, weight):
    terms = build_method(name).loss(ONES, ONES, BATCH)
    assert set(terms) == {"ce", *name.split("+")}
    assert terms["ce"].item() == pytest.approx(weight * F.cross_entropy(ONES.logits, BATCH.y).item())
    assert terms["mild"].item() == pytest.approx(2 * N * D)


def test_each_part_gets_its_own_knobs(parts):
    terms = build_method("mild+staged", **{"mild.weight": 3.0, "staged.weight": 5.0}).loss(ONES, ONES, BATCH)
    assert terms["mild"].item() == pytest.approx(3 * N * D)
    assert terms["staged"].item() == pytest.approx(5 * ONES.logits.sum().item())
    assert list(registry.knobs("kd+mild")) == ["kd.temperature", "kd.alpha", "mild.weight"]


@pytest.mark.parametrize("name", ["mild+staged", "staged+mild"])
def test_additional_stages_run_first_and_the_last_stages_of_all_parts_together(parts, name):
    warm, last = build_method(name).stages(7)
    assert (warm.name, warm.epochs, last.epochs) == ("warm", 2, 7)
    assert set(warm.loss(ONES, ONES, BATCH)) == {"warm"}
    assert set(last.loss(ONES, ONES, BATCH)) == {"ce", "mild", "staged"}


def test_prepare_begin_epoch_and_observe_of_every_part_are_called(parts):
    method, clock = build_method("mild+staged"), Clock("distill", 0, 1)
    method.prepare(None, None, None)
    method.begin_epoch(clock)
    method.observe(ONES, ONES, BATCH)
    assert parts == [("mild", "prepare")] * 2 + [("mild", clock)] * 2 + [("mild", "observe")] * 2


def test_a_composition_needs_a_teacher_if_a_part_does(parts):
    assert registry.get("ce+mild").needs_teacher
    assert not registry.get("ce").needs_teacher


def test_a_composition_has_the_parameters_and_buffers_of_its_parts(isolated_registry):
    @register("heavy")
    class Heavy(Method):
        def __init__(self, student, teacher):
            super().__init__()
            self.layer = torch.nn.Linear(2, 3)
            self.register_buffer("bank", torch.zeros(4))

    method = build_method("heavy+kd")
    assert sum(value.numel() for value in method.parameters()) == 9
    assert [value.numel() for value in method.buffers()] == [4]


@pytest.mark.parametrize("name", ["half", "type", "train", "compile"])
def test_a_part_may_have_the_name_of_an_attribute_of_torch_modules(parts, name):
    @register(name)
    class Own(Method):
        def loss(self, s, t, batch):
            return {"own": s.embedding.sum()}

    method = build_method(f"{name}+mild")
    assert set(method.loss(ONES, ONES, BATCH)) == {"own", "ce", "mild"}
    assert not method.eval().training


def test_two_parts_with_terms_of_the_same_name_are_refused(parts):
    @register("twin")
    class Twin(registry.get("mild")):
        pass

    with pytest.raises(TypeError, match="two methods have a term named 'mild'"):
        build_method("mild+twin").loss(ONES, ONES, BATCH)


@pytest.mark.parametrize(("name", "hint"), [("kd+kd", "once"), ("kd+ec", "did you mean 'ce'"), ("+kd", "unknown")])
def test_a_composition_with_a_wrong_name_is_refused_with_a_hint(name, hint):
    with pytest.raises(registry.RegistryError, match=hint):
        registry.get(name)


def test_the_source_hash_of_a_composition_covers_all_its_parts(parts):
    assert len({registry.digest(name) for name in ("kd", "mild", "kd+mild")}) == 3
