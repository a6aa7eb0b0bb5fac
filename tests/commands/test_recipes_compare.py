"""What recipes compute: the formula, the table of multiply-accumulates, the front, and the page."""
import csv
import io

import pytest

import reskeras
from reskeras import cli
from reskeras.commands.recipes_compare import measure_macs
from reskeras.train import recipe_results
from reskeras.train.recipe_results import RESULTS, list_needed_macs, read_macs
from reskeras.train.recipes import RECIPES, get_recipe

QUICK = [("cifar_he", "cifar_resnet20"), ("wrn", "cifar_wide_resnet16_4")]


@pytest.fixture(scope="module")
def costs():
    return {(c.recipe, c.net): c for c in reskeras.compare_recipes().costs}


def test_operations_are_images_times_macs_times_six(costs):
    he = costs["he2015", "resnet50"]
    assert he.pflop == pytest.approx(600_000 * 256 * reskeras.cost("resnet50").macs * 3 * 2 / 1e15)
    assert (he.epochs, he.sizes) == (pytest.approx(119.9, abs=0.05), (224,))
    torch = costs["fb_resnet_torch", "resnet18"]
    assert torch.pflop == pytest.approx(90 * 1_281_167 * reskeras.cost("resnet18").macs * 3 * 2 / 1e15)
    small = costs["resnet_rs/50@160", "resnetrs50"]
    assert small.pflop == pytest.approx(350 * 1_281_167 * small.macs * 6 / 1e15) and small.sizes == (160,)
    # KellerJordan/cifar10-airbench README: its standard training of a ResNet-18 is 32.3 PFLOP, 200 epochs
    assert costs["cifar_cosine", "cifar_resnet18"].pflop == pytest.approx(32.3, rel=0.05)


@pytest.mark.parametrize("recipe, net", QUICK)
def test_table_of_macs(recipe, net):
    sizes = [size for r, n, size in list_needed_macs() if (r, n) == (recipe, net)]
    counted = measure_macs(net, get_recipe(recipe).model, sizes)
    assert counted == {size: read_macs()[recipe, net, size] for size in sizes}


def test_table_of_macs_has_what_is_needed():
    assert list(read_macs()) == list_needed_macs()


@pytest.mark.slow
def test_all_macs_are_counted_again(accept):
    """--accept counts what is not in the file."""
    known = read_macs() if accept else {}
    nets = {}
    for recipe, net, size in list_needed_macs():
        if (recipe, net, size) not in known:
            nets.setdefault((recipe, net), []).append(size)
    counted = {(recipe, net, size): macs for (recipe, net), sizes in nets.items()
               for size, macs in measure_macs(net, get_recipe(recipe).model, sizes).items()}
    lines = [(*key, known.get(key) or counted[key]) for key in list_needed_macs()]
    if accept:
        with recipe_results.MACS_FILE.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("recipe", "net", "size", "macs"), *lines])
        read_macs.cache_clear()
    assert {line[:3]: line[3] for line in lines} == read_macs()


def test_each_recipe_from_random_weights_is_compared():
    compared = {result.recipe.partition("/")[0] for result in RESULTS}
    assert compared == {name for name, recipe in RECIPES.items()
                        if not recipe.starts_from_weights and not recipe.training.head_epochs}
    for result in RESULTS:
        assert bool(result.source) == (result.top1 is not None)
        assert get_recipe(result.recipe).training.epochs or get_recipe(result.recipe).training.steps


def test_front(costs):
    for cost in costs.values():
        better = [c for c in costs.values() if c.data == cost.data and c.top1 is not None
                  and cost.top1 is not None and c.top1 >= cost.top1 and c.pflop <= cost.pflop
                  and (c.top1, c.pflop) != (cost.top1, cost.pflop)]
        assert cost.is_best == (cost.top1 is not None and not better)


def test_a_net_by_every_recipe(costs):
    found = reskeras.compare_recipes("ResNet18").costs
    assert {c.net for c in found} == {"resnet18"}
    assert {c.recipe for c in found} == {r.recipe for r in RESULTS if r.data == "ImageNet"}
    by_recipe = {c.recipe: c for c in found}
    assert by_recipe["fb_resnet_torch"].pflop == costs["fb_resnet_torch", "resnet18"].pflop
    assert by_recipe["fb_resnet_torch"].top1 == 69.57 and by_recipe["rsb_a1"].top1 is None
    assert by_recipe["rsb_a3"].macs < by_recipe["rsb_a2"].macs          # 160 pixels


def test_command(capsys, tmp_path):
    assert cli.main(["recipes", "compare", "--csv"]) == 0
    lines = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert len(lines) == len(RESULTS) + 1 and lines[0][6] == "PFLOP"
    assert cli.main(["recipes", "compare", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("| recipe | net |")
    pytest.importorskip("matplotlib")
    page = tmp_path / "recipes.html"
    assert cli.main(["recipes", "compare", "--output", str(page)]) == 0
    text = page.read_text()
    assert capsys.readouterr().out == f"{page}\n" and "<svg" in text
    assert "rsb_a3, resnet50v1_5: 78.05 %" in text


@pytest.mark.parametrize("words, error", [
    (["--net", "resnet51"], "did you mean"), (["--output", "x.svg"], "an .html or a .png file")])
def test_errors(words, error, capsys):
    assert cli.main(["recipes", "compare", *words]) == 2
    assert error in capsys.readouterr().err
