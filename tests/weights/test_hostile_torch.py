"""PyTorch's files, where PyTorch is installed: pickles, of which only tensors and containers are made."""
import io
import os
import pickle
import zipfile

import pytest
from checkpoints import build_cifar as build
from checkpoints import randomized, same, torch_arrays

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def trained():
    return randomized(build())


@pytest.fixture(scope="module")
def tensors(trained):
    return {name: torch.from_numpy(array.copy()) for name, array in torch_arrays(trained).items()}


@pytest.mark.parametrize("wrap", [
    lambda t: t, lambda t: {"state_dict": t, "epoch": 3, "args": ["a", None]},
    lambda t: {"module." + name: tensor for name, tensor in t.items()},
    lambda t: {name: torch.nn.Parameter(tensor) for name, tensor in t.items()},
    lambda t: {name: tensor.double() for name, tensor in t.items()}])
def test_good_files_load(tmp_path, trained, tensors, wrap):
    for zipped in (True, False):
        torch.save(wrap(tensors), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        same(build(weights=tmp_path / "a.pth"), trained)


class Reduce:
    def __init__(self, function, *arguments):
        self.result = function, arguments

    def __reduce__(self):
        return self.result


def save(content):
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def compress(data, extra=0):
    """The same archive, its members deflated, with zeros added to the last."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        if extra:
            new.writestr(old.namelist()[-1] + "x", bytes(extra))
    return result.getvalue()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:Validating sparse tensor")
def test_attacks(tmp_path, tensors):
    mark = tmp_path / "executed"
    bias = tensors["fc.bias"]
    whole = save(tensors)
    attacks = {
        "reduce": save({"fc.bias": Reduce(os.system, f"touch {mark}")}),
        "plain pickle": pickle.dumps(Reduce(os.system, f"touch {mark}")),
        "open": save({"fc.bias": Reduce(open, str(mark), "w")}),
        "expanded": save(tensors | {"fc.bias": torch.zeros(1).expand(2 ** 40)}),
        "nan": save(tensors | {"fc.bias": bias * float("nan")}),
        "complex": save(tensors | {"fc.bias": bias.to(torch.complex64)}),
        "large": save(tensors | {"fc.bias": bias.double() * 1e300}),
        "bool": save(tensors | {"fc.bias": bias > 0}),
        "sparse": save(tensors | {"fc.bias": bias.to_sparse()}),
        "list": save([1, 2]), "number": save(3), "numbers": save({"a": 1}), "names": save({3: bias}),
        "bomb": compress(whole, 2 ** 27), "truncated": whole[:len(whole) // 2], "empty": b"",
        "text": b"no pickle", "header": whole[:40],
    }
    cycle = {}
    cycle["state_dict"] = cycle
    attacks["cycle"] = save(cycle)
    for name, data in attacks.items():
        path = tmp_path / f"{name}.pth"
        path.write_bytes(data)
        with pytest.raises(ValueError) as caught:
            build(weights=path)
        message = str(caught.value)
        assert type(caught.value) is ValueError and message.startswith(str(path)), (name, message)
        assert "\n" not in message and "weights_only" not in message, name
    assert not mark.exists()


def test_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.pth")
    with pytest.raises(ValueError, match="is a pipe"):
        build(weights=tmp_path / "a.pth")


def test_compressed_files_load(tmp_path, trained, tensors):
    path = tmp_path / "a.pth"
    path.write_bytes(compress(save(tensors)))
    same(build(weights=path), trained)
