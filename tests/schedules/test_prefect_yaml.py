"""prefect.yaml is what pipelines.yaml gives, Prefect's own loader takes it, and it deploys as `engine deploy` does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.config.load import load_project
from engine.errors import UsageError
from tests.docs.pages import ROOT
from tests.schedules.conftest import Shop
from tests.schedules.prefect_api import PrefectApi
from tests.schedules.served_project import SECRET
from tests.schedules.test_deploy import deploy, make

SAME = (
    "name",
    "description",
    "entrypoint",
    "parameters",
    "concurrency_options",
    "work_pool_name",
    "job_variables",
    "pull_steps",
    "enforce_parameter_schema",
    "parameter_openapi_schema",
    "paused",
)
"""Of a deployment on the server; ids and times of making differ."""


def written(folder: Path, pool: str) -> str:
    from engine.schedules.deploy import Target
    from engine.schedules.prefect_yaml import prefect_yaml

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_FILE", str(folder / "pipelines.yaml"))
        patch.setenv("SHOP_KEY", SECRET)
        project = load_project(folder / "pipelines.yaml", profile="local")
        return prefect_yaml(project, Target("", pool, "local", folder))


def test_the_committed_file_is_what_pipelines_yaml_gives() -> None:
    committed = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    assert written(ROOT, "tickhouse") == committed, "run `make docs`"


def test_prefect_s_own_loader_takes_it_and_knows_every_word() -> None:
    from prefect.cli.deploy._models import (
        ConcurrencyLimitSpec,
        DeploymentConfig,
        PrefectYamlModel,
        RawScheduleConfig,
        WorkPoolConfig,
    )

    content = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    loaded = PrefectYamlModel.model_validate(content)
    assert [each.flow_name for each in loaded.deployments] == list(load_project(ROOT / "pipelines.yaml").file.pipelines)
    words: list[tuple[Any, Any]] = [(content, PrefectYamlModel)]
    for each in content["deployments"]:
        words += [(each, DeploymentConfig), (each["concurrency_limit"], ConcurrencyLimitSpec)]
        words += [(each["work_pool"], WorkPoolConfig), *((one, RawScheduleConfig) for one in each["schedules"])]
    for block, model in words:
        known = {field.alias or name for name, field in model.model_fields.items()}
        assert set(block) <= known, "a word that Prefect would leave out without a word"


@pytest.mark.xdist_group("prefect")
def test_prefect_deploys_from_it_what_engine_deploy_does(
    prefect: PrefectApi, shop: tuple[Shop, str], tmp_path: Path
) -> None:
    project = make(tmp_path / "project", shop[1], "quay")
    address = f"{prefect.address}/api"
    (project.folder / "prefect.yaml").write_text(written(project.folder, "yard"))
    assert SECRET not in (project.folder / "prefect.yaml").read_text()
    deploy(project, address)
    ours = prefect.deployment("quay")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("prefect")), "--no-prompt", "deploy", "--all"],
        cwd=project.folder,
        env={**project.environment({"PREFECT_API_URL": address}), "PWD": str(project.folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    theirs = prefect.deployment("quay")
    assert theirs["updated"] > ours["updated"]
    assert {key: theirs[key] for key in SAME} == {key: ours[key] for key in SAME}
    assert theirs["schedules"][0]["schedule"] == ours["schedules"][0]["schedule"]
    assert set(ours["tags"]) - set(theirs["tags"]) == {next(tag for tag in ours["tags"] if ":" in tag)}
    (line, *_) = deploy(project, address)
    assert line.startswith("quay/local: updated"), "one that is nobody's is taken over"
    with pytest.raises(UsageError, match="of another project"):
        deploy(make(tmp_path / "other", shop[1], "quay"), address)
