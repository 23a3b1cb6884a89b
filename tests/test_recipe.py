"""Recipes: layers, overrides, sweeps, references, and one clear sentence for everything that can be wrong."""

from __future__ import annotations

import json
import math
import string
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from zoo import layers, overrides, recipe_names, registry
from zoo.errors import BadValue, UnknownName, UserError
from zoo.recipe import Recipe, override, resolve, validate
from zoo.scalar import scalar
from zoo.settings import SampleSettings, TrainerSettings, TrainSettings
from zoo.yaml_file import parse

ROOT = Path(registry.__file__).parent.parent


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes ./recipes/NAME.yaml in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()

    def file(name: str, text: str) -> Path:
        path = tmp_path / "recipes" / f"{name}.yaml"
        path.write_text(text)
        return path

    file("empty", "")
    return file


def one(*arguments: str, sweep: bool = True) -> Recipe:
    (recipe,) = resolve(list(arguments), sweep=sweep)
    return recipe


# ------------------------------------------------------------------------------------------------ layers and edits


def test_an_empty_recipe_is_the_defaults(write):
    recipe = one("recipe=empty")
    assert recipe.name == "empty"
    assert set(recipe.parts) == set(registry.axes("components")) - set(recipe_names.INNER_AXES)
    assert recipe.train == TrainSettings(generator=TrainSettings().generator.model_copy(update={"seed": 0}))
    assert all(not part.options for part in recipe.parts.values())


def test_every_axis_has_a_default():
    assert set(recipe_names.part_axes()) <= set(layers.defaults())


def test_a_default_that_is_not_installed_gives_way_to_the_next(write, monkeypatch):
    monkeypatch.setattr(layers.importlib.util, "find_spec", lambda name: True)
    assert layers.defaults()["reader"] == {"name": "decord"}
    monkeypatch.setattr(layers.importlib.util, "find_spec", lambda name: None if name == "decord" else True)
    assert layers.defaults()["reader"] == {"name": "pyav"}
    assert one("recipe=empty", "reader=decord").part("reader").name == "decord"  # an explicit choice stays


@pytest.mark.parametrize("name", recipe_names.recipe_names())
def test_every_packaged_recipe_resolves(name):
    recipes = resolve([f"recipe={name}"], sweep=False)
    assert recipes
    assert all(recipe.name == Path(name).name and recipe.description for recipe in recipes)


def test_swapping_a_part_drops_its_options_and_naming_it_again_keeps_them(write):
    write("mine", "rollout: {name: hierarchical, levels: 3}")
    assert one("recipe=mine").part("rollout").options == {"levels": 3}
    assert one("recipe=mine", "rollout=hierarchical").part("rollout").options == {"levels": 3}
    assert one("recipe=mine", "rollout=long_range").part("rollout").options == {}
    assert one("recipe=mine", "rollout={name: long_range, distant: spread}").part("rollout").options == {
        "distant": "spread"
    }
    assert one("recipe=mine", "rollout.name=long_range").part("rollout").name == "long_range"


def test_edits_come_after_swaps_in_any_order(write):
    write("mine", "rollout: {name: hierarchical, levels: 3}")
    recipe = one("recipe=mine", "rollout.distant=spread", "rollout=long_range")
    assert recipe.part("rollout").model_dump() == {"name": "long_range", "options": {"distant": "spread"}}


def test_sections_merge_and_values_replace(write):
    write("base", "train: {generator: {steps: 7, masks: {fdm: 1, window: 2}}, tokenizer: {batch: 3}}\nseed: 5")
    write("child", "base: base\ntrain: {generator: {masks: {window: 1}, lr: 1e-4}}")
    train = one("recipe=child").train
    assert (train.generator.steps, train.tokenizer.batch, train.generator.lr) == (7, 3, 1e-4)
    assert train.generator.masks == {"window": 1.0}
    assert one("recipe=child", "train.generator.masks.fdm=0.5").train.generator.masks == {"window": 1.0, "fdm": 0.5}
    assert one("recipe=child").train.generator.seed == 5
    assert one("recipe=child", "train.generator.seed=6").train.generator.seed == 6


def test_name_and_description_are_not_inherited(write):
    write("base", "description: of the base")
    write("child", "base: base")
    assert (one("recipe=child").name, one("recipe=child").description) == ("child", "")


def test_a_users_recipe_may_build_on_the_packaged_one_of_its_name(write):
    write("quickstart", "base: quickstart\nrollout: long_range\nseed: 9")
    recipe = one("recipe=quickstart")
    assert recipe.seed == 9
    assert recipe.part("dataset") == resolve(["recipe=maze_gpu"], sweep=False)[0].part("dataset").model_copy(
        update={"options": recipe.part("dataset").options}
    )
    assert recipe.part("dataset").options


def test_a_path_is_a_recipe_and_its_base_is_relative_to_it(write, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "base.yaml").write_text("seed: 3")
    (tmp_path / "far" / "child.yaml").write_text("base: base.yaml")
    assert one("recipe=far/child.yaml").seed == 3


def test_defaults_are_not_shared_between_recipes(write):
    one("recipe=empty", "train.generator.masks.window=3")
    assert one("recipe=empty").train.generator.masks == {"fdm": 1.0}


# ----------------------------------------------------------------------------------------------------------- sweeps


def test_sweeps_multiply_in_the_order_given(write):
    recipes = resolve(["recipe=empty", "rollout=long_range,autoregressive", "seed=range(0,3)"], sweep=True)
    assert [(r.part("rollout").name, r.seed) for r in recipes] == [
        (name, seed) for name in ("long_range", "autoregressive") for seed in range(3)
    ]
    assert recipes[1].point == {"rollout": "long_range", "seed": 1}
    assert len({r.hash() for r in recipes}) == 6


def test_a_recipe_may_sweep(write):
    write("mine", "rollout: long_range, autoregressive\nsweep: {train.generator.lr: [1e-3, 1e-4], seed: [1]}")
    recipes = resolve(["recipe=mine"], sweep=False)
    assert {(r.part("rollout").name, r.train.generator.lr) for r in recipes} == {
        (name, lr) for name in ("long_range", "autoregressive") for lr in (1e-3, 1e-4)
    }
    assert {r.seed for r in recipes} == {1}
    assert len(resolve(["recipe=mine", "rollout=long_range"], sweep=False)) == 2
    assert len(resolve(["recipe=mine", "rollout=long_range", "train.generator.lr=1"], sweep=False)) == 1


@pytest.mark.parametrize(
    "child, points",
    [
        ("", 4),
        ("rollout: long_range", 2),
        ("rollout: {name: hierarchical}", 2),
        ("train: {generator: {steps: 3}}", 4),
        ("train: {generator: {lr: 1}}", 2),
        ("rollout: long_range\ntrain: {generator: {lr: 1}}", 1),
        ("sweep: {seed: [1, 2, 3]}", 12),
        ("sweep: {rollout: [long_range]}", 2),
    ],
)
def test_what_ends_an_inherited_sweep(write, child, points):
    write("base", "rollout: long_range,autoregressive\nsweep: {train.generator.lr: [1e-3, 1e-4]}")
    write("child", f"base: base\n{child}")
    assert len(resolve(["recipe=child"], sweep=False)) == points


def test_equal_points_are_one(write):
    assert len(resolve(["recipe=empty", "seed=1,1,2"], sweep=True)) == 2


def test_an_edit_reaches_every_point(write):
    recipes = resolve(["recipe=empty", "rollout.distant=spread", "rollout=long_range,{name: long_range}"], sweep=True)
    assert [r.part("rollout").options for r in recipes] == [{"distant": "spread"}]


# ------------------------------------------------------------------------------------------------- grammar and YAML

word = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
number = st.one_of(st.integers(-(10**6), 10**6).map(str), st.floats(-1e6, 1e6, allow_nan=False).map(repr))


@given(st.lists(st.one_of(word, number, st.sampled_from(["1e-3", "1.5e3", "-0", "true", "Null", "inf"])), min_size=1))
@example(["1e-3"])
@example(["-0.0"])
@example(["true", "x"])
def test_the_quick_reading_equals_hydras(items):
    raw = ",".join(items)
    quick = overrides._simple(raw)
    if quick is not None:
        full = overrides._swept("key", raw)
        assert [(type(a), a) for a in quick] == [(type(b), b) for b in full]


def test_most_overrides_need_no_hydra():
    for raw in ("vqgan", "64", "1e-3", "a,b,c", "0,1,2", "-3.5"):
        assert overrides._simple(raw) is not None


@pytest.mark.parametrize(
    "raw, value",
    [
        ("a cat, running; 'fast'", "a cat, running; 'fast'"),
        ("a,b", "a,b"),
        ("~/my videos/[1].mp4", "~/my videos/[1].mp4"),
        ("1e-3", 1e-3),
        ("true", True),
        ("null", None),
        ("{a: 1, b: [x]}", {"a": 1, "b": ["x"]}),
        ("", ""),
    ],
)
def test_plain_values_are_taken_as_they_stand(raw, value):
    assert overrides.plain_value(raw, "key") == value


def test_only_the_sweep_grammar_splits_at_commas(write):
    assert one("recipe=empty", "train.init_from=a,b", sweep=False).train.init_from == "a,b"
    assert one("recipe=empty", "train.init_from='a,b'").train.init_from == "a,b"


@pytest.mark.parametrize(
    "text, value",
    [("1e-3", 1e-3), ("1.e3", 1e3), ("no", "no"), ("010", 10), ("1:30", "1:30"), ("2020-01-01", "2020-01-01")],
)
def test_yaml_scalars_are_those_of_yaml_1_2(text, value):
    assert parse(f"a: {text}", "file") == {"a": value}
    assert parse(f"a: '{text}'", "file") == {"a": text}


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN", ".inf", "-.Inf", "+.INF"])
def test_scalars_that_are_not_finite(text):
    assert math.isnan(scalar(text)) if "n" in text.lower()[1:2] else math.isinf(scalar(text))


@given(st.text(alphabet=".+-eEinfaNAF0123456789_~x ", max_size=12))
def test_any_word_is_a_scalar(text):
    assert scalar(text) is None or isinstance(scalar(text), (bool, int, float, str))


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()))
def test_scalars_survive_json_and_back(value):
    assert scalar(json.dumps(value)) == value or len(json.dumps(value)) > 300


# ------------------------------------------------------------------------------------------------------- references


def test_references_take_the_value_of_a_key(write):
    write("mine", "sample: {window: '${train.generator.window}', step: 4}\ndescription: window ${sample.window}")
    recipe = one("recipe=mine", "train.generator.window=12")
    assert recipe.sample.window == 12
    assert recipe.description == "window 12"


@pytest.mark.parametrize(
    "value, message",
    [
        ("${oc.env:HOME}", "refers to its own keys only"),
        ("${oc.env.HOME}", "refers to its own keys only"),
        ("${env:HOME}", "refers to its own keys only"),
        ("x${seed", "unfinished reference"),
        ("${sample.widow}", "refers to 'widow', which the recipe does not write. Did you mean 'window'"),
        ("${train}", "circle"),
        ("${train.init_from}", "circle"),
        ("${train.tokenizer} x", "single value"),
    ],
)
def test_bad_references_are_refused(write, value, message):
    write("mine", yaml.safe_dump({"train": {"init_from": value}}))
    with pytest.raises(UserError) as caught:
        one("recipe=mine")
    assert message in str(caught.value)


def test_no_environment_variable_reaches_a_recipe(write, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    for argument in ("description=${oc.env:SECRET}", "description='${oc.env:SECRET}'"):
        for sweep in (True, False):
            with pytest.raises(UserError):
                one("recipe=empty", argument, sweep=sweep)


def test_references_that_multiply_are_stopped(write):
    masks = {f"m{i}": [f"${{train.generator.masks.m{i + 1}}}"] * 9 for i in range(12)} | {"m12": 1}
    write("mine", yaml.safe_dump({"train": {"generator": {"masks": masks}}}))
    with pytest.raises(BadValue, match="multiply"):
        one("recipe=mine")


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "argument, message",
    [
        ("tokeniser=vae", "there is no key 'tokeniser'. Did you mean 'tokenizer'?"),
        ("tokenizer=vea", "no tokenizer is named 'vea'. Did you mean 'vae'?"),
        ("tokenizer=3", "tokenizer: 3 is not a name."),
        ("tokenizer=null", "tokenizer: None is not a name."),
        ("rollout=", "no rollout is named ''."),
        ("suite=quickstrat", "no suite is named 'quickstrat'. Did you mean 'quickstart'?"),
        ("suite.episods=3", "suite 'quickstart' has no option 'episods'. Did you mean 'episodes'?"),
        ("tokenizer.chanels=3", "tokenizer 'vae' has no option 'chanels'. Did you mean 'channels'?"),
        ("train.generatr.lr=3", "train has no key 'generatr'. Did you mean 'generator'?"),
        ("train.generator.rl=3", "train.generator has no key 'rl'. Did you mean 'lr'?"),
        ("train.generator=3", "train.generator: 3 is not a mapping"),
        ("train=big", "train: 'big' is not a mapping"),
        ("train.generator.lr=fast", "train.generator.lr: 'fast' is not a number"),
        ("train.generator.lr=0", "train.generator.lr: must be > 0.0, not 0"),
        ("train.generator.lr=nan", "train.generator.lr: nan is not a finite number"),
        ("train.generator.steps=1.5", "train.generator.steps: 1.5 is not an integer"),
        ("train.generator.masks=fdm", "train.generator.masks: 'fdm' is not a mapping"),
        ("train.generator.masks.fdm=-1", "train.generator.masks.fdm: must be >= 0.0, not -1"),
        ("train.generator.lr.x=1", "train.generator.lr holds 0.001, not a mapping"),
        ("sample.cache=maybe", "sample.cache: 'maybe' is not true or false"),
        ("trainer.devices=many", "trainer.devices: 'many' is not one of 'auto' or an integer or a list"),
        ("trainer.precision=bf61-mixed", "trainer.precision: no precision is called 'bf61-mixed'. Did you mean"),
        ("seed=-1", "seed: must be >= 0, not -1"),
        ("seed=one", "seed: 'one' is not an integer"),
        ("seed.x=1", "seed holds a single value"),
        ("base=clips", "there is no key 'base'"),
        ("point={}", "there is no key 'point'"),
        ("tokenizer.width=inf", "tokenizer.width: inf is not a finite number"),
        ("seed", "'seed' is not key=value"),
        ("++seed=1", "'++seed=1' is not key=value"),
        ("~seed", "'~seed' is not key=value"),
        ("seed=range(0,1000000)", "seed is swept over more than 1000 values"),
        ("seed=glob(*)", "cannot be read"),
        ("description=f(x", "quote a text that holds commas"),
    ],
)
def test_refusals(write, argument, message):
    with pytest.raises(UserError) as caught:
        resolve(["recipe=empty", argument], sweep=True)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "say which recipe: recipe=NAME"),
        (["recipe=quikstart"], "no recipe is named 'quikstart'. Did you mean 'quickstart'?"),
        (["recipe=nowhere/at/all.yaml"], "there is no recipe file"),
        (["recipe=empty,quickstart"], "takes one name"),
        (["recipe=empty", "seed=1", "seed=2"], "seed is given twice"),
        (["recipe=empty", "seed=range(0,100)", "sample.seed=range(0,100)"], "more than 1000 points"),
    ],
)
def test_refused_arguments(write, arguments, message):
    with pytest.raises(UserError) as caught:
        resolve(arguments, sweep=True)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("tokeniser: vae", "mine.yaml: there is no key 'tokeniser'. Did you mean 'tokenizer'?"),
        ("base: mine2", "mine.yaml, base: no recipe is named 'mine2'."),
        ("base: [a]", "mine.yaml, base: ['a'] is not the name of a recipe."),
        ("seed: 1\nseed: 2", "mine.yaml, line 2: the key 'seed' is given twice"),
        ("- a\n- b", "must hold keys and values"),
        ("a: &x 1\nb: *x", "mine.yaml, line 1: anchors and aliases are not used here"),
        ("a: !!python/object/apply:os.system [ls]", "mine.yaml, line 1: could not determine a constructor"),
        ("a: [", "mine.yaml, line"),
        ("tokenizer: {name: {}}", "mine.yaml: tokenizer: {} is not a name."),
        ("sweep: [1]", "mine.yaml: sweep must map keys to lists"),
        ("sweep: {seed: 1}", "mine.yaml: sweep of seed: 1 is not a list of values"),
        ("sweep: {sed: [1]}", "mine.yaml: there is no key 'sed'. Did you mean 'seed'?"),
        ("rollout: long_range,longrange", "mine.yaml: no rollout is named 'longrange'."),
        ("[" * 1000, "mine.yaml cannot be read as YAML: it is nested too deeply"),
        ("description: " + "[" * 50 + "]" * 50, "nested more than 30 levels deep"),
    ],
)
def test_refused_files(write, text, message):
    write("mine", text)
    with pytest.raises(UserError) as caught:
        resolve(["recipe=mine"], sweep=False)
    assert message in str(caught.value)


def test_a_circle_of_bases_is_named(write):
    write("a", "base: b")
    write("b", "base: a")
    with pytest.raises(UserError, match=r"a\.yaml → b\.yaml → a\.yaml; remove one"):
        resolve(["recipe=a"], sweep=False)


def test_a_file_that_is_no_text(write):
    write("mine", "").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadValue, match="not a text file in UTF-8"):
        resolve(["recipe=mine"], sweep=False)


def test_wrong_names_need_neither_torch_nor_hydra():
    code = (
        "import sys; from zoo.recipe import resolve; from zoo.errors import UserError\n"
        "for wrong in (['recipe=quikstart'], ['recipe=quickstart', 'rolout=x'], ['recipe=quickstart', 'rollout=x'],\n"
        "              ['recipe=quickstart', 'seed=range(1,3)', 'tokenizer=vea'],\n"
        "              ['recipe=quickstart', 'tokenizer.wdth=3'], ['recipe=quickstart', 'train.generator.rl=3']):\n"
        "    try: resolve(wrong, sweep=True)\n"
        "    except UserError as error: assert 'Known' in str(error), error\n"
        "    else: raise SystemExit(f'{wrong} was accepted')\n"
        "    assert not {'torch', 'hydra', 'numpy', 'lightning'} & set(sys.modules), wrong"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# ------------------------------------------------------------------------------------------------ hash and validation


def test_to_dict_and_back(write):
    for recipe in resolve(["recipe=quickstart", "suite.episodes=2"], sweep=False):
        again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
        assert again == recipe
        assert again.hash() == recipe.hash()


def test_the_hash_is_of_the_content(write):
    write("mine", "seed: 1\ndescription: words")
    write("yours", "description: other words\nseed: 1")
    assert one("recipe=mine").hash() == one("recipe=yours").hash() == one("recipe=empty", "seed=1").hash()
    changed = ["seed=2", "sample.step=4", "rollout=long_range", "suite.episodes=3", "trainer.log_every=7"]
    assert len({one("recipe=mine", change).hash() for change in changed}) == len(changed)


def test_override_edits_a_resolved_recipe(write):
    trained = validate(one("recipe=empty", "rollout=hierarchical", "rollout.levels=3", "seed=4"))
    edited = override(trained, ["rollout.distant=spread", "rollout=long_range", "description=a, 'b'"])
    assert edited.part("rollout").options == {"distant": "spread"}
    assert edited.description == "a, 'b'"
    assert edited.train == trained.train
    assert override(trained, []) == trained
    with pytest.raises(UnknownName, match=r"no option 'levls'.*'levels'"):
        override(trained, ["rollout.levls=2"])
    with pytest.raises(BadValue, match="recipe= has no place here"):
        override(trained, ["recipe=quickstart"])


def test_validate_writes_every_option_out(write):
    full = validate(one("recipe=empty", "rollout=long_range"))
    assert full.part("rollout").options == registry.load("rollout", "long_range").Config().model_dump()
    assert full.hash() == validate(one("recipe=empty", "rollout=long_range", "rollout.distant=newest_observed")).hash()
    assert validate(full) == full


def test_validate_checks_types_and_ranges(write):
    with pytest.raises(BadValue, match=r"tokenizer\.channels: 'many' is not an integer"):
        validate(one("recipe=empty", "tokenizer.channels=many"))
    with pytest.raises(BadValue, match=r"tokenizer\.channels: must be >= 1, not 0"):
        validate(one("recipe=empty", "tokenizer.channels=0"))
    with pytest.raises(BadValue, match=r"suite\.episodes: .*not 0"):
        validate(one("recipe=empty", "suite.episodes=0"))


def test_a_recipe_is_frozen(write):
    with pytest.raises(ValueError, match="frozen"):
        one("recipe=empty").seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("model", [TrainSettings, SampleSettings, TrainerSettings])
def test_every_setting_says_what_it_is(model: type[BaseModel]):
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            test_every_setting_says_what_it_is(field.annotation)
        else:
            assert field.description, name
            assert field.validate_default or model()


# -------------------------------------------------------------------------------------------------------------- fuzz

KEYS = [
    *recipe_names.keys(),
    "base",
    "sweep",
    "tokenizer.channels",
    "train.generator.masks",
    "point",
    "x",
    "name",
    "recipe",
]
NAMES = ["vae", "long_range", "maze", "none", "empty", "quickstart", "${seed}", "${train}", "a,b", "1,2", "", "∞"]
leaf = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(NAMES),
    st.text(max_size=12),
    st.dates(),
    st.binary(max_size=3),
)
value = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.sampled_from(["name", "width", "generator", "lr", *KEYS]), leaf), inner, max_size=3
        ),
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(st.dictionaries(st.one_of(st.sampled_from(KEYS), leaf), value, max_size=4))
def test_any_recipe_file_is_read_or_refused_in_words(write, tree):
    write("fuzzed", yaml.dump(tree, allow_unicode=True))
    check_words(["recipe=fuzzed"], sweep=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=100)
@given(st.text(alphabet=string.printable + "é∞\x00", max_size=60))
def test_any_text_is_read_or_refused_in_words(write, text):
    write("fuzzed", "").write_text(text, encoding="utf-8")
    check_words(["recipe=fuzzed"], sweep=False)


grammar = st.text(alphabet="ab1.0,:(){}[]'\"=$\\ ~+-_rangechoisf", max_size=25)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(KEYS), st.one_of(grammar, st.sampled_from(NAMES))).map("=".join),
            st.text(max_size=20),
        ),
        max_size=3,
    ),
    st.booleans(),
)
@example(["seed=range(0,1,0)"], True)
@example(["seed=int(x)"], True)
@example(["seed=sort(3,1,x)"], True)
@example(["seed=interval(0,1)"], True)
@example(["seed=glob([a],exclude=b)"], True)
@example(["seed=range(0,1e300)"], True)
@example(["train={a:{b:choice(1,2)}}"], True)
@example(["seed=" + "[" * 500], True)
def test_any_arguments_are_read_or_refused_in_words(write, arguments, sweep):
    check_words(["recipe=empty", *arguments], sweep=sweep)


def check_words(arguments: list[str], *, sweep: bool) -> None:
    try:
        recipes = resolve(arguments, sweep=sweep)
    except UserError as refused:
        error = refused
        recipes = []
    else:
        error = None
    assert error is None or str(error).strip()
    assert error is None or isinstance(error, (BadValue, UnknownName)) or "circle" in str(error)
    for recipe in recipes:
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))).hash() == recipe.hash()
