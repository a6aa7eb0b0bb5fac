"""Several outputs, metrics inside of layers, class weights, checkpoints, and another number of workers: two
replicas and two workers are as one device.
"""
import numpy as np
import pytest
from test_distribute import check_same, results, start, workers

HISTORY = ("loss", "accuracy", "val_loss", "val_accuracy")
OUTPUTS = ("weights", "loss", "kind_loss", "size_loss", "kind_accuracy", "size_mae", "seen", "val_loss",
           "val_kind_loss", "val_size_loss", "val_seen", "evaluate", "predict")


def check_outputs(found, case, reference, tolerance=1e-5):
    check_same(found, case, reference, tolerance, OUTPUTS)
    for loss in ("kind_loss", "size_loss", "val_kind_loss", "val_size_loss", "seen"):
        assert (found[f"{case}/{loss}"] > 0).all()
    total = found[f"{case}/val_kind_loss"] + 0.3 * found[f"{case}/val_size_loss"]
    np.testing.assert_allclose(found[f"{case}/val_loss"], total, rtol=1e-5)


def check_whole(found, case, reference):
    """That a run of `fit` is as "whole@1"."""
    for name in ("weights", *HISTORY):
        np.testing.assert_allclose(
            found[f"{case}/{name}"], reference[f"whole@1/{name}"], rtol=1e-5, atol=1e-5, err_msg=name)


def test_two_replicas_count_each_output_and_class(tmp_path):
    output = tmp_path / "found.npz"
    found = results(start(output, ["outputs@1", "outputs@2", "class_weight@1", "class_weight@2"]), output)
    check_outputs(found, "outputs@2", found)
    check_same(found, "class_weight@2", found)


def test_two_workers_resume_what_one_process_began(tmp_path):
    """In the middle of an epoch, with the same batches in the same order."""
    output = tmp_path / "one.npz"
    reference = results(start(output, ["whole@1", "half@1"]), output)
    for found in workers(tmp_path, ["resumed@2"]):
        check_whole(found, "resumed@2", reference)


@pytest.mark.slow
def test_one_process_resumes_what_two_workers_began(tmp_path):
    workers(tmp_path, ["half@2"])
    output = tmp_path / "one.npz"
    found = results(start(output, ["whole@1", "resumed@1"]), output)
    check_whole(found, "resumed@1", found)


@pytest.mark.slow
def test_five_workers_resume_what_two_began(tmp_path):
    """The batch of 10 images stays, 2 of each worker instead of 5; so do the images of each step."""
    workers(tmp_path, ["half@2"])
    output = tmp_path / "one.npz"
    reference = results(start(output, ["whole@1"]), output)
    for found in workers(tmp_path, ["resumed@5"], number=5):
        check_whole(found, "resumed@5", reference)


@pytest.mark.slow
def test_replicas_in_mixed_precision_and_with_xla(tmp_path):
    output, cases = tmp_path / "found.npz", ["outputs", "outputs16", "outputs_jit", "class_weight16",
                                             "class_weight_jit"]
    found = results(start(output, [f"{case}@{n}" for case in cases for n in (1, 2)]), output)
    found |= results(start(output, ["outputs@3"]), output)
    check_outputs(found, "outputs@3", found)
    check_outputs(found, "outputs16@2", found, 1e-2)
    check_outputs(found, "outputs_jit@2", found)
    check_same(found, "class_weight16@2", found, 1e-2)
    check_same(found, "class_weight_jit@2", found)


@pytest.mark.slow
def test_workers_count_each_output_and_class(tmp_path):
    cases = ["outputs", "outputs16", "outputs_jit", "class_weight", "class_weight16", "class_weight_jit"]
    output = tmp_path / "one.npz"
    reference = results(start(output, [f"{case}@1" for case in cases]), output)
    for found in workers(tmp_path, [f"{case}@2" for case in cases]):
        for case in cases:
            tolerance = 1e-2 if case.endswith("16") else 1e-5
            check = check_outputs if case.startswith("outputs") else check_same
            check(found, f"{case}@2", reference, tolerance)
