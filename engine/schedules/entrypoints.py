"""What Prefect loads: `engine.schedules.entrypoints.PIPELINE` is the flow of that pipeline of pipelines.yaml."""

from typing import Any

MODULE = __name__


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    from engine.schedules.flow import flow_of

    return flow_of(name)
