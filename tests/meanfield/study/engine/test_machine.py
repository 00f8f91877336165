import json
import os
import platform
import socket

from meanfield.study.engine import machine as module
from meanfield.study.engine.machine import machine
from meanfield.study.storage.writer import read_run


def test_a_run_records_its_machine_and_nothing_that_names_it(small_run):
    text = read_run(small_run).attributes["machine_json"]
    assert json.loads(text) == machine()
    for secret in (socket.gethostname(), os.path.expanduser("~"), os.getcwd()):
        assert secret not in text


def test_cores_are_those_the_process_may_use_and_threads_no_more(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert machine()["cores"] == 1
    assert machine()["threads"] >= 1


def test_the_processor_is_the_model_of_the_first_core(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast One\n\nprocessor\t: 1\nmodel name\t: B\n")
    monkeypatch.setattr(module, "CPU_INFO", info)
    assert machine()["processor"] == "Fast One"


def test_where_the_system_does_not_tell_python_does(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "CPU_INFO", tmp_path / "none")
    assert machine()["processor"] == (platform.processor() or platform.machine()) != ""
