"""The recipes against what is known of the papers, overrides, and the learning rate."""
import json
import pathlib
import re

import pytest

from reskeras import cli, variants
from reskeras.spec import Spec, override
from reskeras.train import recipes
from reskeras.train.learning_rate import scale_learning_rate
from reskeras.train.training import Training
from reskeras.train.recipes import RECIPES, get_recipe
from reskeras.train.resnet_rs import RESNET_RS_SCALING

ROOT = pathlib.Path(__file__).parents[2]
TABLES = {(t["paper"], t["table"]): t for t in json.loads((ROOT / "tests/facts/recipes.json").read_text())}
IMAGENET = 1_281_167
ISSUE = (
    "FINETUNE HE2015 FB_RESNET_TORCH CIFAR_HE PREACT WRN RESNEXT STOCHASTIC_DEPTH BAG_OF_TRICKS RESNEST "
    "RESNET_RS RSB_A1 RSB_A2 RSB_A3 TV2 NVIDIA_90 NVIDIA_250 FFCV_RN18 FFCV_RN50 MOSAIC_MILD "
    "MOSAIC_MEDIUM MOSAIC_HOT MLPERF_LARS CIFAR_COSINE CIFAR_FAST BIT_SMALL "
    "BIT_MEDIUM BIT_LARGE INT8 DIGITS"
).split()


def said(paper, table, row):
    return dict((key, rest) for key, *rest in TABLES[paper, table]["rows"])[row][0]


def numbers(pattern, text):
    found = re.search(pattern, text)
    assert found, (pattern, text)
    return tuple(float(n) for n in found.groups())


def test_every_recipe_is_a_row_with_sources():
    assert [name.lower() for name in ISSUE] == list(RECIPES)
    for name in ISSUE:
        recipe = getattr(recipes, name)
        assert get_recipe(name) is recipe is get_recipe(recipe) is get_recipe(name.lower().replace("_", "-"))
        said = {f for f, value in recipe.values.items() if value != vars(Training(epochs=1)).get(f)}
        # every value that is not silence has its source
        assert said - {"epochs"} <= set(recipe.sources), name
        assert {
            "batch_size", "learning_rate", "schedule", "optimizer", "augmentation",
            "weight_decay"} <= set(recipe.sources) or name == "FINETUNE"
        assert all(len(source) > 8 for source in recipe.sources.values())
        override(Spec(), recipe.model)


def test_every_recipe_says_what_differs_from_its_source():
    for recipe in RECIPES.values():
        training = recipe.training
        assert set(recipe.differs_from_source) <= set(recipe.sources), recipe.name
        # forms of which each program has its own: not left to a default
        stated = {"learning_rate_in_velocity"} if training.optimizer in ("sgd", "nesterov") else set()
        stated |= {"ema_rule", "ema_steps"} if training.ema_momentum else set()
        assert stated <= set(recipe.sources), recipe.name
    lines = {line.split()[0]: line for line in recipes.TV2.as_text().splitlines()[1:]}
    assert all(line.endswith("| as the source") for name, line in lines.items()
               if name in ("ema_rule", "schedule_by_epoch", "decayed_weights"))
    assert "| as the paper; the released code has steps" in recipes.RESNET_RS.as_text()
    assert "| given" not in recipes.WRN.override({"epochs": 10}).as_text()


def test_rows_of_released_code():
    """Against constants of the released code."""
    t = recipes.RESNET_RS.training
    assert (t.optimizer, t.decayed_weights, t.ema_rule) == ("nesterov", "all_but_normalization", "tensorflow")
    assert recipes.RESNET_RS.model["bn_momentum"] == 0
    assert recipes.RSB_A2.training.global_clipnorm == 1 and recipes.TV2.training.ema_steps == 32
    t = recipes.NVIDIA_250.training
    assert (t.batch_size, t.learning_rate, t.momentum, t.weight_decay) == (2048, 2.048, 0.875, 1 / 32768)
    assert recipes.NVIDIA_90.training.augmentation == t.augmentation.replace("|mixup(0.2)", "")
    for name, steps in (("small", [100, 200, 300, 400, 500]), ("medium", [500, 3000, 6000, 9000, 10_000]),
                        ("large", [500, 6000, 12_000, 18_000, 20_000])):
        t = get_recipe(f"bit_{name}").training
        assert [t.warmup, *t.milestones, t.steps] == steps
        assert ("mixup(0.1)" in t.augmentation) == (name != "small")


def test_rows_cannot_change():
    with pytest.raises(TypeError):
        recipes.WRN.model["block_dropout_rate"] = 0.1
    with pytest.raises(AttributeError):
        recipes.WRN.training.epochs = 1


def test_the_tables_are_the_papers(external_file):
    papers = json.loads(external_file("papers.json").read_text())["papers"]
    known = {(p["key"], t["table"]): t for p in papers for t in p["tables"]}
    for key, table in TABLES.items():
        assert all(known[key][field] == table[field] for field in ("caption", "columns", "rows", "source"))


def test_he():
    text, t = said("he2015", "training", "ImageNet"), recipes.HE2015.training
    assert numbers(r"batch (\d+), lr ([\d.]+) /(\d+) on plateau, up to (\d+)e4", text) == (
        t.batch_size, t.learning_rate, round(1 / t.decay_factor), t.steps / 1e4)
    assert numbers(r"wd (\S+), momentum ([\d.]+)", text) == (t.weight_decay, t.momentum)
    assert "no dropout" in text and not recipes.HE2015.model and t.schedule == "plateau"
    low, high = numbers(r"\[(\d+),(\d+)\]", text)
    assert t.augmentation.startswith(f"scale({low:.0f}, {high:.0f})|")


def test_cifar():
    text = said("he2015", "training", "CIFAR")
    for t in (recipes.CIFAR_HE.training, recipes.PREACT.training):
        assert numbers(r"batch (\d+), lr ([\d.]+) /(\d+) at (\d+)k and (\d+)k, stop (\d+)k", text) == (
            t.batch_size, t.learning_rate, round(1 / t.decay_factor), *(m / 1000 for m in t.milestones),
            t.steps / 1000)
        assert numbers(r"wd (\S+), momentum ([\d.]+)", text) == (t.weight_decay, t.momentum)
        assert "pad 4 + random crop + flip" in text and t.augmentation == "pad_crop(32, 4)|flip"


def test_wrn():
    text, t = said("wrn2016", "training", "CIFAR"), recipes.WRN.training
    assert "Nesterov" in text and t.optimizer == "nesterov"
    assert numbers(
        r"lr ([\d.]+), momentum ([\d.]+), wd (\S+), batch (\d+), (\d+) epochs, lr x([\d.]+) "
        r"at (\d+)/(\d+)/(\d+)",
        text,
    ) == (t.learning_rate, t.momentum, t.weight_decay, t.batch_size, t.epochs, t.decay_factor, *t.milestones)
    assert numbers(r"dropout ([\d.]+)", text) == (recipes.WRN.model["block_dropout_rate"],)


def test_stochastic_depth():
    survival, = numbers(r"p_L = ([\d.]+)", said("stochdepth2016", "rule", "linear decay"))
    assert recipes.STOCHASTIC_DEPTH.model["drop_path_rate"] == 1 - survival


def test_bag_of_tricks():
    steps = [row[0] for row in TABLES["bagoftricks2018", "Table 6 (training)"]["rows"]]
    t = recipes.BAG_OF_TRICKS.training
    assert t.schedule == "cosine" and "+ cosine decay" in steps and "mixup" in t.augmentation
    assert f"+ label smoothing {t.label_smoothing}" in steps


@pytest.mark.parametrize("line", TABLES["resnetrs2021", "released configs"]["rows"], ids=lambda line: line[0])
def test_resnet_rs(line):
    config, size, dropout, drop_path, magnitude = line
    recipe, depth = get_recipe(f"RESNET_RS/{config}"), config.split("@")[0]
    assert (recipe.training.size, recipe.training.test_size) == (size, size)
    assert recipe.model["dropout_rate"] == dropout and recipe.model["drop_path_rate"] == (drop_path or 0)
    assert recipe.training.augmentation == f"tpu_crop({size})|flip|tpu_randaugment(2, {magnitude})"
    assert config == "50@160" or recipe.sources["size"].endswith(config)
    text, t = TABLES["resnetrs2021", "released configs"]["caption"], recipe.training
    epochs, steps, batch = numbers(
        r"(\d+) epochs \(([\d]+[,\d]*) steps x (\d+)\)", text.replace("109,475", "109475"))
    assert (t.epochs, recipe.count_steps(IMAGENET), t.batch_size) == (epochs, steps, batch)
    assert numbers(
        r"label smoothing ([\d.]+), RandAugment 2 layers, wd (\S+), momentum ([\d.]+), EMA ([\d.]+),", text
    ) == (t.label_smoothing, t.weight_decay, t.momentum, t.ema_momentum)
    assert numbers(r"lr ([\d.]+) per (\d+)", text) == (t.learning_rate, t.base_batch_size)
    assert scale_learning_rate(t).value == pytest.approx(1.6)
    blocks = dict(TABLES["resnetrs2021", "depths"]["rows"])[depth]
    assert list(variants.VARIANTS[f"resnetrs{depth}"].spec.depths) == json.loads(blocks)


def test_resnet_rs_has_its_whole_table():
    assert list(RESNET_RS_SCALING) == [line[0] for line in TABLES["resnetrs2021", "released configs"]["rows"]]
    assert not recipes.RESNET_RS.differences(get_recipe("RESNET_RS/50@160"))


def test_rsb():
    for procedure, _, epochs in TABLES["rsb2021", "headline"]["rows"]:
        assert get_recipe(f"RSB_{procedure}").training.epochs == epochs


def test_digits_is_what_the_demo_does():
    from reskeras.commands import demo, digits
    t = recipes.DIGITS.training
    assert (t.batch_size, t.learning_rate, t.weight_decay, t.epochs, t.size) == (
        digits.BATCH_SIZE, digits.LEARNING_RATE, digits.WEIGHT_DECAY, demo.EPOCHS, digits.SIZE)
    assert (t.warmup / t.epochs, t.warmup_start) == (0.1, 1 / 20)
    assert t.augmentation == f"affine({digits.TURN}, {digits.SHIFT}, {digits.SCALE})"


def test_override():
    new = recipes.RESNET_RS.override(
        ["epochs=10", "milestones=[3, 6.5]"], ["drop_path_rate=0.1", "attention=se"])
    assert (new.training.epochs, new.training.milestones, new.model["drop_path_rate"]) == (10, (3, 6.5), 0.1)
    assert new.model["attention"] == override(Spec(), {"attention": "se"}).attention
    assert new.sources["epochs"] == new.sources["model.drop_path_rate"] == "given"
    assert new.differences(recipes.RESNET_RS)["epochs"] == (10, 350)
    assert recipes.RESNET_RS.training.epochs == 350
    assert recipes.RESNET_RS.override({"learning_rate": 1}).training.learning_rate == 1.0
    shorter = recipes.CIFAR_HE.override("epochs=10")
    assert (shorter.training.epochs, shorter.training.steps) == (10, 0)


def test_steps_do_not_become_epochs():
    """64,000 steps that fall at 32,000 and 48,000: 10 epochs fall at 5 and 7.5, not never."""
    assert recipes.CIFAR_HE.override("epochs=10").training.milestones == (5, 7.5)
    assert recipes.PREACT.override("epochs=10").training.warmup == 10 / 160
    assert recipes.CIFAR_HE.override(["epochs=10", "milestones=(8,)"]).training.milestones == (8,)
    # in the same unit: as it is
    assert recipes.CIFAR_HE.override("steps=100").training.milestones == (32_000, 48_000)
    assert recipes.WRN.override("steps=1000").training.milestones == (300, 600, 800)


@pytest.mark.parametrize(
    "given, message",
    [
        ("epoch=10", "unknown argument epoch=10; did you mean 'epochs'?"),
        ("drop_path_rate=0.1", "give it in model_overrides"),
        ("epochs=ten", "epochs='ten': expected a whole number"),
        ("epochs=1.5", "epochs=1.5: expected a whole number"),
        ("epochs=True", "epochs=True: expected a whole number"),
        ("batch_size=1e400", "batch_size=inf: expected a whole number"),
        ("learning_rate='0.1'", "learning_rate='0.1': expected a number"),
        ("learning_rate=-1", "expected a number of at least 0"),
        ("batch_size=0", "batch_size=0: expected a whole number of at least 1"),
        ("freeze_statistics=1", "freeze_statistics=1: expected True or False"),
        ("milestones=30", "milestones=30: expected numbers in parentheses"),
        ("optimizer=nestrov", "did you mean 'nesterov'?"), ("epochs", "'epochs': expected NAME=VALUE"),
        (
            "warmup=200",
            "warmup=200.0: expected a warm-up that is shorter than the training, which has 200 epochs"),
        ("schedule=plateau", "patience=0: expected at least 1, because the schedule 'plateau' needs")])
def test_override_says_what_was_expected(given, message):
    with pytest.raises((TypeError, ValueError)) as error:
        recipes.WRN.override([given])
    assert message in str(error.value)


@pytest.mark.parametrize("given, message", [("drop_path=0.1", "did you mean 'drop_path_rate'"),
                                            ("drop_path_rate=2", "expected a probability"),
                                            ("zero_init_residual=1", "expected True or False")])
def test_model_override_says_what_was_expected(given, message):
    with pytest.raises((TypeError, ValueError)) as error:
        recipes.WRN.override(model=[given])
    assert message in str(error.value)


def test_unknown_names_get_the_nearest():
    for name, near in (
        ("RESNETRS", "resnet_rs"), ("bag-of-trick", "bag_of_tricks"),
        ("RESNET_RS/152@255", "resnet_rs/152@256")):
        with pytest.raises(ValueError, match=f"did you mean '{near}'"):
            get_recipe(name)
    with pytest.raises(ValueError, match="expected 'wrn': it has no scaling table"):
        get_recipe("WRN/28")


def test_learning_rate_says_what_it_did():
    rate = scale_learning_rate(recipes.BAG_OF_TRICKS.training)
    assert (
        rate.value == pytest.approx(0.4)
        and rate.reason == "learning rate 0.4 at batch size 1024: 0.1 at 256, times 1024/256")
    rate = scale_learning_rate(recipes.RSB_A2.training, 512)
    assert rate.value == pytest.approx(2.5e-3) and "the square root of 512/2048" in rate.reason
    assert scale_learning_rate(recipes.FINETUNE.training, 64).value == 1e-4
    assert "does not scale" in scale_learning_rate(recipes.FINETUNE.training, 64).reason
    assert scale_learning_rate(recipes.WRN.training).reason.endswith("the recipe's batch size")


def test_commands(capsys):
    assert cli.main(["recipes", "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(RECIPES)
    assert cli.main(["recipes", "show", "RESNET_RS", "--diff", "BAG_OF_TRICKS"]) == 0
    lines = dict((line.split()[0], line.split()[1:]) for line in capsys.readouterr().out.splitlines())
    assert (
        lines["epochs"] == ["350", "200"]
        and lines["ema_momentum"] == ["0.9999", "0.0"]
        and "schedule" not in lines)
    assert lines["model.dropout_rate"] == ["0.25", "-"]
    assert (
        cli.main(
            ["recipes", "show", "WRN", "--overrides", "epochs=10", "--model-overrides", "dropout_rate=0.2"])
        == 0)
    out = capsys.readouterr().out
    assert re.search(r"epochs +10 +given\n", out) and re.search(r"model.dropout_rate +0.2 +given\n", out)
    assert cli.main(["recipes", "show", "WRN", "--overrides", "epoch=10"]) == 2
    assert "did you mean 'epochs'" in capsys.readouterr().err
