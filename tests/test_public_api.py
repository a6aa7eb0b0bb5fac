"""The public names: each resolves whatever was imported before, with the signature that it had, as the stub
has it.
"""
import importlib
import inspect
import json
import os
import pathlib
import pkgutil
import re
import subprocess
import sys
import types

import pytest
import stub

import reskeras
from reskeras import catalog
from reskeras.train.training import training_fields

ROOT = pathlib.Path(__file__).parents[1]
SIGNATURES = pathlib.Path(__file__).parent / "golden" / "signatures.json"
STUB = ROOT / "reskeras" / "__init__.pyi"


# Described together, as the fields of the recipe.
TOGETHER = {"fit": {field.name for field in training_fields()}}
# Fields of a spec whose names say all; what others mean is in the comment beside them.
PLAIN = {"version", "norm", "bn_epsilon", "bn_momentum", "classes", "input_size"}


def find_commented_fields(spec_class):
    """The fields of a spec with a comment beside them, in this class or in `Spec`."""
    source = inspect.getsource(spec_class) + inspect.getsource(reskeras.Spec)
    return set(re.findall(r"^    (\w+): [^#\n]+ # \w", source, re.M))


@pytest.mark.parametrize("name", reskeras._PUBLIC)
def test_documentation(name):
    """Every public function and class says what each argument is; a function also what comes back, with an
    example.
    """
    public = getattr(reskeras, name)
    text, signature = inspect.getdoc(public), inspect.signature(public)
    missing = {p for p in signature.parameters if not re.search(rf"^ +\*{{0,2}}{p}:", text, re.M)}
    if name in ("Spec", "InceptionSpec"):
        missing -= find_commented_fields(public) | PLAIN
    assert missing == TOGETHER.get(name, set())
    if inspect.isfunction(public):
        assert "Returns:" in text or signature.return_annotation == "None"
        assert "Example:" in text


@pytest.fixture(scope="module")
def submodules():
    """The names of all modules of the package, each imported."""
    names = [module.name for module in pkgutil.walk_packages(reskeras.__path__, "reskeras.")]
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    return names


def test_no_public_name_is_a_module(submodules):
    """Python would put the module in the place of the function as soon as it is imported."""
    modules = {name.split(".")[1] for name in submodules}
    assert not modules & set(dir(reskeras))
    for name in dir(reskeras):
        public = getattr(reskeras, name)
        assert callable(public) and public.__doc__ and not isinstance(public, types.ModuleType), name


def test_signatures(submodules, accept):
    """Changing one breaks somebody's code.  The 215 builders have one signature, with defaults of their
    own.
    """
    signatures = {name: str(inspect.signature(getattr(reskeras, name))) for name in sorted(reskeras._PUBLIC)}
    signatures["ResNet50"] = str(inspect.signature(reskeras.ResNet50))
    if accept:
        SIGNATURES.write_text(json.dumps(signatures, indent=0) + "\n")
    assert signatures == json.loads(SIGNATURES.read_text())
    builders = [getattr(reskeras, name) for name in catalog.list_builders()]
    assert len({tuple(inspect.signature(builder).parameters) for builder in builders}) == 1


def test_the_stub(accept):
    text = stub.make_stub()
    if accept:
        STUB.write_text(text)
    assert STUB.read_text() == text


USER = """\
import reskeras
from reskeras import ResNeSt50, create

model = ResNeSt50(weights=None, classes=10, drop_path_rate=0.1)
other = create("resnet50d", weights=None)
names: list[str] = reskeras.list_models("resnest*", max_params=3e7)
reskeras.save(model, "net.keras")
reskeras.fit(other, "digits", epochs=3, batch_size=32)
spec = reskeras.Spec(depths=(1, 1, 1, 1), attention=reskeras.SE(1 / 16))
reveal_type(ResNeSt50)
"""
WRONG = {"ResNeSt50(include_top='yes')": "arg-type", "reskeras.list_models(max_parameters=3)": "call-arg",
         "reskeras.fit('resnet50d', 'digits', epoch=3)": "call-arg", "reskeras.ResNet5O()": "attr-defined",
         "reskeras.Spec(depth=(1,))": "call-arg"}


def test_mypy_sees_types(tmp_path):
    """In a user's project: right code passes, each wrong line is found."""
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(USER + "\n".join(WRONG) + "\n")
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--ignore-missing-imports",
               "--config-file=", f"--cache-dir={tmp_path}", "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "MYPYPATH": str(ROOT)})
    notes = [line for line in done.stdout.splitlines() if ": note: Revealed type" in line]
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert re.search(r"include_top: (builtins\.)?bool", notes[0]) and "weights: " in notes[0], done.stdout
    first = USER.count("\n") + 1
    assert [(int(line.split(":")[1]) - first, line.rpartition("[")[2][:-1]) for line in errors] == list(
        enumerate(WRONG.values())), done.stdout


@pytest.mark.parametrize("name, suggestion", [("resnet50d", "ResNet50D"), ("remove_block", "remove_blocks"),
                                              ("SplitAttn", "SplitAttention")])
def test_an_unknown_name_gets_the_nearest(name, suggestion):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; did you mean '{suggestion}'"):
        getattr(reskeras, name)


def test_all_is_everything_public():
    assert reskeras.__all__ == dir(reskeras) and set(reskeras._PUBLIC) < set(reskeras.__all__)
    assert len(reskeras.__all__) == len(reskeras._PUBLIC) + len(catalog.list_builders())
