import re
import tomllib

import pytest

from meanfield.landscapes import LANDSCAPES, Valley
from meanfield.study.config.run_config import ConfigError, load, load_text
from meanfield.study.config.toml import format_toml, parse_value
from solvers.flows import FLOWS


def errors(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(path)
    return error.value.lines


def test_every_landscape_and_every_flow_can_be_asked_for_by_its_name():
    for name in LANDSCAPES:
        assert isinstance(
            load(None, (f"landscape.name={name}",)).landscape.build(), LANDSCAPES[name]
        )
    needed = {"langevin": "temperature=0.1"}
    for name in FLOWS:
        options = f"{{{needed.get(name, '')}}}"
        (process,) = load(None, (f"processes={{{name}={options}}}",)).processes.values()
        assert process.flow == name


def test_parameters_of_a_landscape_reach_it():
    study = load(None, ("landscape={name='valley', zeta=0.7, epsilon=0.005}",))
    assert study.landscape.build() == Valley(zeta=0.7, epsilon=0.005)


def test_the_default_is_the_study_of_the_digits():
    study = load()
    assert (study.task.name, study.task.n, study.network.width) == ("digits", 300, 400)
    assert (study.learning_rate, study.steps, study.risk.loss) == (1.0, 400, "squared")
    assert list(study.processes) == ["gradient_descent", "gradient_flow", "free_energy_flow"]


def test_all_errors_come_at_once_one_line_each(tmp_path):
    lines = errors(
        tmp_path,
        """
        learning_rate = 0
        stpes = 3
        [network]
        widht = 5
        width = 0
        [task]
        n = "many"
        [risk]
        loss = "softmx"
        [processes.mine]
        flow = "free_energy_flow"
        closre = "taylor"
        rank = 1.5
        """,
    )
    assert len(lines) == 8
    assert {line.split(" ")[0] for line in lines} == {
        "learning_rate",
        "stpes",
        "network.widht",
        "network.width",
        "task.n",
        "risk.loss",
        "processes.mine.closre",
        "processes.mine.rank",
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("stpes = 3", r"stpes is not a known key; known keys: seed, .*; did you mean 'steps'\?"),
        (
            "[network]\nwidht = 3",
            r"network.widht is not a known key; known keys: width, .*; did you mean 'width'\?",
        ),
        (
            "[task]\ntarge = 3",
            r"task.targe is not a known key; known keys: name, n, .*; did you mean 'target'\?",
        ),
        (
            "[processes.gradient_flow]\nintegrater = 'rk4'",
            r"processes.gradient_flow.integrater is not a known key; known keys: .*; did you mean 'integrator'\?",
        ),
        ("[task]\nname = 'digit'", r"task.name must be .*got 'digit'; did you mean 'digits'\?"),
        (
            "[processes.gradient_floe]",
            r"processes.gradient_floe.flow must be .*got 'gradient_floe'; did you mean 'gradient_flow'",
        ),
        ("[risk]\nloss = 'sqared'", r"risk.loss must be .*got 'sqared'; did you mean 'squared'\?"),
        ("[task]\nname = 'npz'", "task.path must be given, it has no default"),
        ("learning_rate = -1.0", "learning_rate must be a finite number above 0, got -1.0"),
        ("learning_rate = inf", "learning_rate must be a finite number above 0, got inf"),
        ("learning_rate = nan", "learning_rate must be .*got nan"),
        ("steps = true", "steps must be an integer, got True"),
        ("steps = 10.0", "steps must be an integer, got 10.0"),
        ("seed = '1'", "seed must be an integer, got '1'"),
        ("[network]\nwidth = 0", "network.width must be .*got 0"),
        ("[task]\nn = 1798", "task.n must be .*got 1798"),
        ("task = 3", "task must be a table, got 3"),
        ("processes = 3", "processes must be a table, got 3"),
        ("[processes]", "processes must be at least one process, got {}"),
        ("[processes.'a b']\nflow = 'gradient_flow'", "processes.a b: the name must be of letters"),
        ("[processes.comparison]\nflow = 'gradient_flow'", "processes.comparison: the name"),
        (
            "[processes.gradient_flow]\ndt = 0.3",
            "processes.gradient_flow.dt must be 1/m for an integer m, got 0.3",
        ),
        (
            "[processes.gradient_flow]\nrtol = 1e-3",
            "processes.gradient_flow.rtol must not be given without .*, got 0.001",
        ),
        (
            "[processes.gradient_flow]\nintegrator = 'adaptive'\ndt = 0.5",
            "processes.gradient_flow.dt must not be given with integrator = 'adaptive', .*, got 0.5",
        ),
        (
            "[processes.gradient_descent]\ndt = 0.5",
            "processes.gradient_descent.dt is not a known key; known keys: ",
        ),
        (
            "[processes.rod_flow]\nintegrator = 'rk4'",
            "processes.rod_flow.integrator is not a known key; known keys: ",
        ),
        (
            "[processes.central_flow]\ndt = 0.3",
            "processes.central_flow.dt must be 1/m for an integer m, got 0.3",
        ),
        (
            "[processes.central_flow]\nmax_modes = 0",
            "processes.central_flow.max_modes must be an integer of at least 1, got 0",
        ),
        (
            "[processes.sharpness_flow]\nlaw = 'normalised'",
            r"processes.sharpness_flow.law must be .*, got 'normalised'; did you mean 'normalized'\?",
        ),
        (
            "[processes.edge_flwo]",
            r"processes.edge_flwo.flow must be .*got 'edge_flwo'; did you mean 'edge_flow'",
        ),
        (
            "[processes.gradient_flow]\ndelay = true\nintegrator = 'rk4'",
            "processes.gradient_flow.integrator must not be given with delay = true, .* got 'rk4'",
        ),
        (
            "[processes.free_energy_flow]\nfluctuation_floor = 'roundng'",
            "processes.free_energy_flow.fluctuation_floor must be 'rounding' or .* got 'roundng'",
        ),
        (
            "[processes.free_energy_flow]\nfluctuation_floor = -1.0",
            "processes.free_energy_flow.fluctuation_floor must be 'rounding' or .* got -1.0",
        ),
        (
            "[processes.sqrt_loss_gradient_descent]\nminimum = inf",
            "processes.sqrt_loss_gradient_descent.minimum must be a finite number, got inf",
        ),
        (
            "[landscape]\nname = 'vally'",
            r"landscape.name must be .*got 'vally'; did you mean 'valley'\?",
        ),
        ("[landscape]\nzeta = 1.0", "landscape.name must be given, it has no default"),
        ("landscape = 3", "landscape must be a table, got 3"),
        (
            "[landscape]\nname = 'valley'\nzta = 2.0",
            r"landscape.zta is not a known key; known keys: .*epsilon.*; did you mean 'zeta'\?",
        ),
        ("[landscape]\nname = 'valley'\nzeta = 'a'", "landscape.zeta must be a number, got 'a'"),
        (
            "[landscape]\nname = 'valley'\nzeta = nan",
            "landscape.zeta must be a finite number, got nan",
        ),
        (
            "[landscape]\nname = 'valley'\nstart = [1.0]",
            "landscape.start must have 2 numbers, got 1",
        ),
        ("[landscape]\nname = 'valley'\nstart = 1.0", "landscape.start must be an array, got 1.0"),
        (
            "[landscape]\nname = 'valley'\nstart = [0.0, inf]",
            "landscape.start.1 must be a finite number, got inf",
        ),
        (
            "[landscape]\nname = 'valley'\ndtype = 'float16'",
            "landscape.dtype must be .*got 'float16'",
        ),
        (
            "[landscape]\nname = 'linear_neurons'\nwidth = 1.5",
            "landscape.width must be an integer, got 1.5",
        ),
        (
            "[landscape]\nname = 'river_valley'\ncodimension = 7",
            "landscape.codimension must be an integer from 1 to 2, got 7",
        ),
        (
            "[landscape]\nname = 'valley'\n[task]\nn = 5\n[risk]\n",
            "landscape must be without risk, task, got both; a run has either a landscape or a network on a task",
        ),
        (
            "[task]\nname = 'cifar10'\ntarget = 'signs'",
            r"task.target must be .*got 'signs'; did you mean 'sign'",
        ),
    ],
)
def test_an_error_says_what_came_and_what_is_allowed(tmp_path, text, line):
    (found,) = errors(tmp_path, text)
    assert re.match(line, found), found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"steps = ", "invalid TOML"),
        (b"\xff\xfe", "the text must be UTF-8"),
        (None, "no such file"),
    ],
)
def test_what_is_no_toml_is_refused(tmp_path, content, message):
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load(path)


def test_overrides_win_over_the_file_and_keep_the_other_processes(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text("steps = 5\n[network]\nwidth = 7\n")
    study = load(path, ("network.width=9", "risk.loss=logistic", "processes.gradient_flow.dt=0.5"))
    assert (study.steps, study.network.width, study.risk.loss) == (5, 9, "logistic")
    assert study.processes["gradient_flow"].dt == 0.5
    assert len(study.processes) == 3


@pytest.mark.parametrize("override", ["steps", "=3", "a..b=3", "network.width.x=3"])
def test_overrides_that_name_no_setting_are_refused(override):
    with pytest.raises(ConfigError):
        load(None, ("network.width=5", override))


@pytest.mark.parametrize("name", ["npz", "cifar10"])
def test_a_relative_path_of_data_starts_at_the_file(tmp_path, name):
    path = tmp_path / "study.toml"
    path.write_text(f"[task]\nname = '{name}'\npath = 'data.npz'\n")
    assert load(path).task.path == str(tmp_path / "data.npz")


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("task.name=npz", 'task.path="a \\"quoted\\" \\\\ path é \\t"'),
        ("task.name=teacher_student", "task.noise=1e-12", "learning_rate=0.1"),
        ("processes.fast={flow='free_energy_flow', integrator='adaptive', rtol=1e-5}",),
        ("processes.mine={flow='free_energy_flow', fluctuation_floor='rounding', delay=true}",),
        ("landscape={name='valley', zeta=0.7, start=[0.0, 7]}", "landscape.dtype=float32"),
        ("landscape={name='matrix_factorization', target=[[5, 0.5], [0.0, 4.8]]}",),
        ("task={name='cifar10', classes=['cat', 5], target='sign'}",),
    ],
)
def test_the_resolved_toml_gives_the_same_study(overrides):
    study = load(None, overrides)
    assert load_text(study.to_toml()) == study


@pytest.mark.parametrize(
    "table",
    [
        {"a": 1, "b": {"c": 1e16, "d": {"e": "x\x7f\n"}, "f": True}},
        {"tables": {"only": {"x": 0.1}}, "last": {"y": -3}},
        {"a": [1, 2.5, [True, "x"]], "b": []},
    ],
)
def test_format_toml_is_read_back(table):
    assert tomllib.loads(format_toml(table)) == table


@pytest.mark.parametrize(
    ("text", "value"), [("3", 3), ("0.5", 0.5), ("true", True), ("softmax", "softmax"), ("", "")]
)
def test_parse_value(text, value):
    assert parse_value(text) == value and type(parse_value(text)) is type(value)
