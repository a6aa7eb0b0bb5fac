"""What a net may learn, and how much each image counts: against plain Keras, in float64, for three steps."""
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from reskeras import get_metadata
from task_cases import CASES, CLASSES, train, train_by_keras

TASKS = {"multilabel": "multilabel", "focal_logits": "multilabel", "binary": "binary",
         "regression": "regression", "huber": "regression"}


QUICK = ("class_weight", "multilabel", "binary", "regression")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
                                  for name in CASES])
def test_equals_plain_keras(name):
    case = CASES[name]
    history, (plain, expected) = train(case), train_by_keras(case)
    for here, there in zip(history.model.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(here, there, rtol=1e-9, atol=1e-12)
    for metric, values in expected.items():
        np.testing.assert_allclose(history.history[metric], values, rtol=1e-5, err_msg=metric)
    assert get_metadata(history.model).task == TASKS.get(name, "")


def test_balanced_is_that_of_scikit_learn():
    labels = CLASSES % 2
    weights = compute_class_weight("balanced", classes=np.arange(2), y=labels)
    np.testing.assert_allclose(weights, list(CASES["binary"].class_weight.values()))
