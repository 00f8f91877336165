"""Inputs that a network was not trained on."""

import numpy as np
import pytest

from meanfield import tasks
from meanfield.study.config.run_config import load
from meanfield.study.engine.build import build_problem
from meanfield.study.width.held_out import held_out
from meanfield.study.width.plan import make_plan
from tests.meanfield.data_files.test_cifar10 import batch, write_folder


def inputs_of(*settings, limit=1000):
    study = load(None, settings)
    plan = make_plan(study, (8,), held_out=limit)
    task = build_problem(study).risk.task
    return held_out(plan, task), task


@pytest.mark.parametrize("name", ["digits", "noisy_digits"])
def test_digits_are_the_others_at_the_same_scale(name):
    found, task = inputs_of(f"task.name={name}", "task.n=1700", "task.seed=2")
    assert found.inputs.shape == (97, 64) and found.are_fresh
    assert found.note == "97 of the other 97 digits"
    # pixels are whole numbers from 0 to 16: the largest of both parts are one number
    assert found.inputs.max() == pytest.approx(task.inputs.max(), rel=1e-14)
    everything = np.vstack([task.inputs, found.inputs])
    whole = tasks.digits(1797, seed=2).inputs
    ratio = everything[whole > 0] / whole[whole > 0]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-13)


def test_without_other_digits_the_training_inputs_serve():
    found, task = inputs_of("task.n=1797", limit=50)
    np.testing.assert_array_equal(found.inputs, task.inputs[:50])
    assert not found.are_fresh and found.note == "50 training inputs, there are no others"


def test_teacher_and_student_have_fresh_inputs_of_the_same_law():
    found, task = inputs_of(
        "task.name=teacher_student", "task.n=40", "task.input_dim=3", limit=4000
    )
    assert found.inputs.shape == (4000, 3) and found.are_fresh
    assert not np.isin(found.inputs, task.inputs).any()
    # E|x|² = 1; of a mean of 4000 with variance 2/3 the standard deviation is 0.013
    assert np.mean(np.sum(found.inputs**2, axis=1)) == pytest.approx(1.0, abs=0.04)


def test_arrays_of_a_file_have_no_others(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"inputs": rng.standard_normal((9, 2)), "targets": rng.standard_normal((9, 1))}
    np.savez(tmp_path / "task.npz", **arrays)
    found, _ = inputs_of("task={name='npz', path='" + str(tmp_path / "task.npz") + "'}")
    np.testing.assert_array_equal(found.inputs, arrays["inputs"])
    assert not found.are_fresh


@pytest.mark.parametrize(("train", "part", "count"), [(True, "test", 4), (False, "training", 20)])
def test_cifar10_is_the_other_part_scaled_like_the_training_images(tmp_path, train, part, count):
    path = write_folder(tmp_path)
    settings = f"task={{name='cifar10', path='{path}', n=4, classes=['cat', 'dog'], train={str(train).lower()}}}"
    found, task = inputs_of(settings)
    assert (
        found.inputs.shape == (count, 3072) and found.note == f"{count} images of the {part} part"
    )
    images, labels = batch(5)  # the test batch
    of_test = images[np.isin(labels, (3, 5))].reshape(-1, 3, 1024).astype(float)
    scaled = (task.inputs if not train else found.inputs).reshape(-1, 3, 1024)
    # one offset per channel and one factor lead from pixels to inputs, here of all four test images
    order = [
        int(np.argmax([np.corrcoef(x.ravel(), y.ravel())[0, 1] for y in of_test])) for x in scaled
    ]
    assert sorted(order) == [0, 1, 2, 3]
    pixels = of_test[order]
    slopes = [np.polyfit(pixels[:, c].ravel(), scaled[:, c].ravel(), 1)[0] for c in range(3)]
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-9)
    trained = task.inputs.reshape(-1, 3, 1024)
    assert abs(trained.mean(axis=(0, 2))).max() < 1e-15
    assert np.mean(trained**2) == pytest.approx(1 / 768)
    if train:  # the test images keep the offset and the factor of the training images, so have a mean of their own
        assert abs(found.inputs.reshape(-1, 3, 1024).mean(axis=(0, 2))).max() > 1e-6
