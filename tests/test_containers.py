"""The Dockerfile and docker-compose.yml say only what the command line and the settings know.

No container engine runs in the tests, so both files are read and every command, option, setting,
path and port in them is looked up where it is defined.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from app.cli import cli
from app.main import create_app
from app.settings import Settings
from workers.registration import SIGN_OF_LIFE

ROOT = Path(__file__).parent.parent
# As an operator starts it who sets a password alone.
PASSWORD = "${POSTGRES_PASSWORD:?set it, to letters and digits}"
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(
    re.sub(r"\$\{\w+:-(.*?)\}", lambda found: found[1] or '""', TEXT.replace(PASSWORD, "password"))
)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
COMMANDS = typer.main.get_group(cli).commands


@dataclass
class Stage:
    """One FROM of a Dockerfile; it starts with what its base stage has."""

    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for instruction, value in self.instructions if instruction == name]


def read_stages() -> dict[str, Stage]:
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    stages: dict[str, Stage] = {}
    stage = None
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        instruction, value = line.split(maxsplit=1)
        if instruction == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", value).groups()  # type: ignore[union-attr]
            inherited = stages[base].instructions if base in stages else []
            stage = stages[name] = Stage(base, list(inherited))
        else:
            assert stage is not None
            stage.instructions.append((instruction, value))
    return stages


STAGES = read_stages()
TARGETS = ("api", "worker")


def check_foldhouse(command: list[str]) -> None:
    """The command exists, takes these options, and their values are of the right type."""
    program, name, *arguments = command
    assert program == "foldhouse"
    COMMANDS[name].make_context(name, list(arguments))


def stage_command(target: str) -> list[str]:
    command: list[str] = json.loads(STAGES[target].all("CMD")[-1])
    return command


def stage_healthcheck(target: str) -> list[str]:
    _, command = STAGES[target].all("HEALTHCHECK")[-1].split(" CMD ")
    healthcheck: list[str] = json.loads(command)
    return healthcheck


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_a_command_that_exists_as_an_ordinary_user(target: str) -> None:
    check_foldhouse(stage_command(target))
    instructions = [name for name, _ in STAGES[target].instructions]
    assert STAGES[target].all("USER") == ["foldhouse"]
    assert "useradd" in " ".join(STAGES[target].all("RUN"))
    assert "RUN" not in instructions[instructions.index("USER") :]


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_installs_pinned_extras_from_files_that_are_there(target: str) -> None:
    *_, install = STAGES[target].all("RUN")
    assert install.startswith("pip install --constraint constraints.txt")
    extras = re.findall(r"\.\[(.+)\]", install)[0].split(",")
    assert extras == (["worker", "s3"] if target == "worker" else ["s3"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras) <= set(project["optional-dependencies"])

    copied = {path for value in STAGES[target].all("COPY") for path in value.split()[:-1]}
    assert all((ROOT / path).exists() for path in copied), copied
    assert copied >= {
        "app",
        "lessons",
        "models",
        "workers",
        "migrations",
        project["readme"],
        "LICENSE",
    }
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert kept == copied

    arguments = {value.split("=")[0] for value in STAGES[target].all("ARG")}
    assert set(re.findall(r"\$\{?([A-Z_]+)", install)) == arguments


def test_only_the_worker_image_has_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "torch" in project["optional-dependencies"]["worker"]
    assert "torch" not in project["dependencies"]


def test_the_api_image_listens_where_it_is_asked_for_its_health(tmp_path: Path) -> None:
    command = stage_command("api")
    port = command[command.index("--port") + 1]
    assert STAGES["api"].all("EXPOSE") == [port]
    *_, script = stage_healthcheck("api")
    compile(script, "healthcheck", "exec")
    asked_port, path = re.search(r"127\.0\.0\.1:(\d+)(/\w+)", script).groups()  # type: ignore[union-attr]
    assert asked_port == port
    assert path in create_app(Settings(data_dir=tmp_path)).openapi()["paths"]


def test_the_worker_image_is_asked_for_the_age_of_its_sign_of_life(tmp_path: Path) -> None:
    *shell, script = stage_healthcheck("worker")
    assert f" /tmp/{SIGN_OF_LIFE.name} " in script
    sign = tmp_path / SIGN_OF_LIFE.name

    def status() -> int:
        return subprocess.run([*shell, script.replace("/tmp", str(tmp_path))]).returncode

    assert status() != 0
    sign.touch()
    assert status() == 0
    old = time.time() - 2 * 60
    os.utime(sign, (old, old))
    assert status() != 0


def test_settings_in_both_files_exist_and_their_values_are_accepted() -> None:
    environments = [
        dict(pair.split("=", 1) for value in stage.all("ENV") for pair in shlex.split(value))
        for stage in STAGES.values()
    ]
    environments += [SERVICES[name]["environment"] for name in OURS]
    for environment in environments:
        settings = {
            name.removeprefix("FOLDHOUSE_").lower(): value
            for name, value in environment.items()
            if name.startswith("FOLDHOUSE_")
        }
        assert settings
        assert set(settings) <= set(Settings.model_fields)
        Settings.model_validate(settings)


@pytest.mark.parametrize("name", OURS)
def test_a_service_builds_a_stage_and_runs_a_command_that_exist(name: str) -> None:
    service = SERVICES[name]
    target = service["build"]["target"]
    assert target in TARGETS
    check_foldhouse(service.get("command", stage_command(target)))
    declared = {value.split("=")[0] for value in STAGES[target].all("ARG")}
    assert set(service["build"].get("args", {})) == declared


@pytest.mark.parametrize("name", OURS)
def test_a_service_keeps_its_data_folder_and_waits_for_what_it_needs(name: str) -> None:
    service = SERVICES[name]
    (volume,) = service["volumes"]
    source, folder = volume.split(":")
    assert source in COMPOSE["volumes"]
    assert folder == service["environment"]["FOLDHOUSE_DATA_DIR"]
    assert any(
        f"/{folder.strip('/')}" in run for run in STAGES[service["build"]["target"]].all("RUN")
    )
    for dependency, wait in service["depends_on"].items():
        if wait["condition"] == "service_healthy":
            assert SERVICES[dependency]["healthcheck"]["test"]
        else:
            assert SERVICES[dependency]["restart"] == "no"


def test_addresses_of_the_database_and_the_broker_name_services_as_they_are_set_up() -> None:
    environment = SERVICES["api"]["environment"]
    postgres = SERVICES["postgres"]["environment"]
    assert environment["FOLDHOUSE_DATABASE_URL"] == (
        f"postgresql+psycopg://{postgres['POSTGRES_USER']}:{postgres['POSTGRES_PASSWORD']}"
        f"@postgres:5432/{postgres['POSTGRES_DB']}"
    )
    assert environment["FOLDHOUSE_BROKER_URL"] == "redis://redis:6379/0"
    assert SERVICES["redis"]["command"] == (
        "redis-server --appendonly yes --maxmemory-policy noeviction".split()
    )


def test_nothing_is_published_beyond_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"]}
    trusting = [
        name
        for name in OURS
        if SERVICES[name]["environment"].get("FOLDHOUSE_TRUSTED_NETWORK") == "true"
    ]
    assert trusting == ["api"]
    assert SERVICES["api"]["environment"]["FOLDHOUSE_ALLOWED_HOSTS"] == "api,localhost"


def test_there_is_no_default_password() -> None:
    assert TEXT.count("POSTGRES_PASSWORD}") == 0
    assert TEXT.count(PASSWORD) == TEXT.count("${POSTGRES_PASSWORD") == 2


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_gets_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert "/tmp" in service["tmpfs"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[gm]", service["mem_limit"])
    assert service["pids_limit"] > 0
    assert {"max-size", "max-file"} == set(service["logging"]["options"])
    assert "build" in service or service["user"] != "root"


def test_a_worker_has_time_to_save_what_it_trains() -> None:
    for name in ("worker", "worker-gpu"):
        assert SERVICES[name]["stop_grace_period"] == "45s"


def test_gpu_workers_start_only_on_request() -> None:
    gpu = SERVICES["worker-gpu"]
    assert gpu["profiles"] == ["gpu"]
    assert gpu["environment"]["FOLDHOUSE_DEVICE"] == "cuda"
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
