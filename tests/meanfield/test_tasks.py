import hashlib
import io
import re
import zipfile

import numpy as np
import pytest

from meanfield import tasks
from meanfield.data_files import digits
from meanfield.tasks import Task

DATA = digits._file().parent


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


# --- the digits ----------------------------------------------------------------------------------


def test_digits_file_is_the_one_the_readme_describes():
    said = dict(re.findall(r"([0-9a-f]{64})  ([\w.]+)", (DATA / "README.md").read_text()))
    said = {name: digest for digest, name in said.items()}
    with np.load(DATA / "digits.npz", allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]
    assert hashlib.sha256((DATA / "digits.npz").read_bytes()).hexdigest() == said["digits.npz"]
    assert hashlib.sha256(images.tobytes()).hexdigest() == said["images"]
    assert hashlib.sha256(labels.tobytes()).hexdigest() == said["labels"]
    assert images.shape == (1797, 8, 8) and images.dtype == labels.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 16)
    # the published counts per class of the test set (optdigits.names)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_equal_the_copy_in_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    bunch = datasets.load_digits()
    with np.load(DATA / "digits.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["images"], bunch.images)
        np.testing.assert_array_equal(archive["labels"], bunch.target)


@pytest.mark.parametrize("n", [1, 300, 1797])
def test_digits_are_scaled_to_the_mean_square_and_not_centered(n):
    task = tasks.digits(n)
    assert task.inputs.shape == (n, 64) and task.inputs.dtype == np.float64
    assert np.mean(task.inputs**2) == pytest.approx(1 / 16, rel=1e-14)
    assert task.inputs.min() == 0


def test_digits_are_images_of_the_file_with_their_labels():
    task = tasks.digits(40, target="classes", seed=3)
    with np.load(DATA / "digits.npz", allow_pickle=False) as archive:
        pixels, labels = archive["images"].reshape(-1, 64), archive["labels"]
    # the ink of an image is 16 somewhere, up to the common factor: each is found in the file again
    factor = 16 / task.inputs.max()
    for x, y in zip(task.inputs, task.targets, strict=True):
        matches = np.flatnonzero(np.all(pixels == np.rint(factor * x), axis=1))
        assert y.argmax() in labels[matches]


def test_digits_are_nested_and_depend_on_the_seed():
    few, many, other = tasks.digits(20), tasks.digits(50), tasks.digits(20, seed=1)
    np.testing.assert_array_equal(few.targets, many.targets[:20])
    assert np.any(few.inputs != other.inputs)


def test_digits_targets():
    parity, classes = tasks.digits(20), tasks.digits(20, target="classes")
    digits = classes.targets.argmax(axis=1)
    np.testing.assert_array_equal(parity.inputs, classes.inputs)
    np.testing.assert_array_equal(parity.targets[:, 0], (-1.0) ** digits)
    assert parity.is_sign and not parity.is_one_hot
    assert classes.is_one_hot and not classes.is_sign


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"n": 0}, "n"),
        ({"n": 1798}, "n"),
        ({"n": 3.0}, "n"),
        ({"n": True}, "n"),
        ({"target": "odd"}, "target"),
        ({"mean_square": 0.0}, "mean_square"),
        ({"mean_square": np.nan}, "mean_square"),
    ],
)
def test_digits_refuse(arguments, name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        tasks.digits(**arguments)


# --- Task ----------------------------------------------------------------------------------------


def test_task_copies_and_freezes_its_arrays():
    inputs = np.zeros((3, 2), dtype=np.float32)
    task = Task(inputs, [[1], [2], [3]], name="t")
    inputs[0, 0] = 5
    assert task.inputs[0, 0] == 0 and task.inputs.dtype == task.targets.dtype == np.float64
    assert (task.n, task.input_dim, task.output_dim) == (3, 2, 1)
    with pytest.raises(ValueError, match="read-only"):
        task.inputs[0, 0] = 1


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (np.zeros(3), np.zeros((3, 1)), r"inputs must have shape .*got \(3,\)"),
        (np.zeros((3, 2)), np.zeros((3, 1, 1)), r"targets must have shape .*got \(3, 1, 1\)"),
        (np.zeros((0, 2)), np.zeros((0, 1)), r"inputs must have shape .*got \(0, 2\)"),
        (np.zeros((3, 2)), np.zeros((4, 1)), "equally many rows, got 3 and 4"),
        (
            np.zeros((3, 2), dtype=complex),
            np.zeros((3, 1)),
            "inputs must be .*got dtype complex128",
        ),
        (np.array([["a"]]), np.zeros((1, 1)), "inputs must be .*got dtype <U1"),
    ],
)
def test_task_refuses(inputs, targets, message):
    with pytest.raises(ValueError, match=message):
        Task(inputs, targets, name="t")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_task_says_where_the_first_value_is_that_is_not_finite(value):
    targets = np.zeros((4, 3))
    targets[2, 1] = targets[3, 0] = value
    with pytest.raises(
        ValueError,
        match=rf"^targets must be finite, got {value} at index \(2, 1\), 2 non-finite of 12",
    ):
        Task(np.zeros((4, 2)), targets, name="t")


# --- label noise ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["parity", "classes"])
@pytest.mark.parametrize(("fraction", "wrong"), [(0.0, 0), (0.1, 10), (0.126, 13), (1.0, 100)])
def test_label_noise_makes_exactly_that_many_labels_wrong(target, fraction, wrong):
    clean = tasks.digits(100, target)
    noisy = tasks.label_noise(clean, fraction, seed=3)
    assert np.any(noisy.targets != clean.targets, axis=1).sum() == wrong
    assert noisy.is_sign == clean.is_sign and noisy.is_one_hot == clean.is_one_hot


def test_label_noise_is_set_by_its_seed():
    first, again, other = (tasks.noisy_digits(100, fraction=0.2, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.targets, again.targets)
    assert np.any(first.targets != other.targets)


def test_label_noise_refuses():
    with pytest.raises(ValueError, match="fraction must be .*got 1.5"):
        tasks.label_noise(tasks.digits(5), 1.5)
    with pytest.raises(ValueError, match="task must have targets that are all ±1"):
        tasks.label_noise(Task(np.zeros((2, 1)), [[0.5], [1.0]], name="t"), 0.5)


# --- teacher and student -------------------------------------------------------------------------


def test_teacher_student_is_the_formula_of_its_docstring():
    task = tasks.teacher_student(50, input_dim=3, teacher_width=5, activation="tanh", seed=7)
    rng = np.random.default_rng(7)
    theta = rng.standard_normal((5, 4))
    inputs = rng.standard_normal((50, 3)) / np.sqrt(3)
    expected = np.tanh(inputs @ theta[:, 1:].T) @ theta[:, 0] / np.sqrt(5)
    np.testing.assert_allclose(task.inputs, inputs, rtol=1e-14)
    np.testing.assert_allclose(task.targets[:, 0], expected, rtol=1e-12)


def test_teacher_student_noise_and_scale():
    clean = tasks.teacher_student(20_000, input_dim=3, noise=0.0, seed=1)
    noisy = tasks.teacher_student(20_000, input_dim=3, noise=0.3, seed=1)
    # standard errors: 0.3/√(2·20000) = 0.0015 and √(2/(20000·3)) = 0.006
    assert np.std(noisy.targets - clean.targets) == pytest.approx(0.3, abs=0.006)
    assert np.mean(np.sum(clean.inputs**2, axis=1)) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    "arguments",
    [{"n": 0}, {"input_dim": 0}, {"teacher_width": -1}, {"noise": -0.1}, {"noise": 1.7e308}],
)
def test_teacher_student_refuses(arguments):
    with pytest.raises(ValueError, match=f"^{next(iter(arguments))} must be"):
        tasks.teacher_student(**arguments)


# --- npz files -----------------------------------------------------------------------------------


def test_from_npz_reads_a_column_of_targets(tmp_path):
    path = save(tmp_path / "mine.npz", inputs=np.eye(3), targets=np.arange(3))
    task = tasks.from_npz(path)
    assert task.name == "mine"
    np.testing.assert_array_equal(task.targets, [[0], [1], [2]])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"inputs": np.eye(3)}, "the file must have an array 'targets', got inputs"),
        ({"inputs": np.eye(3), "targets": np.zeros(2)}, "equally many rows, got 3 and 2"),
        (
            {"inputs": np.array([[1.0, np.nan]]), "targets": [1.0]},
            r"inputs must be finite, got nan at index \(0, 1\)",
        ),
        (
            {"inputs": np.array([[{}]], dtype=object), "targets": [1.0]},
            "inputs must hold numbers, got Python",
        ),
        (
            {"inputs": np.zeros((2, 2, 2)), "targets": np.zeros(2)},
            r"inputs must have shape .*got \(2, 2, 2\)",
        ),
    ],
)
def test_from_npz_refuses(tmp_path, arrays, message):
    path = save(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message) as error:
        tasks.from_npz(path)
    assert str(error.value).startswith(str(path))


def _single_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.eye(2))
    return buffer.getvalue()


def _zip_of_text() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inputs.npy", "not an array")
        archive.writestr("targets.npy", "not an array")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"PK\x03\x04 rubbish", _single_array(), _zip_of_text()]
)
def test_from_npz_refuses_what_is_not_an_archive_of_arrays(tmp_path, content):
    path = tmp_path / "rubbish.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: "):
        tasks.from_npz(path)


def test_from_npz_refuses_a_truncated_archive(tmp_path):
    path = save(tmp_path / "cut.npz", inputs=np.zeros((50, 4)), targets=np.zeros(50))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="must be an .npz archive, got one that cannot be read"):
        tasks.from_npz(path)


def test_from_npz_says_that_a_file_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        tasks.from_npz(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="must be an .npz archive, got a folder"):
        tasks.from_npz(tmp_path)
