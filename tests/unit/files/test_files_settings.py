import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from sources.faker.settings import FakerSource
from sources.files.settings import FilesSource
from sources.kafka.settings import KafkaSource

HEAVY = ("dlt", "duckdb", "pyarrow", "numpy", "faker", "s3fs", "pandas")


def block(source=None, **resource):
    return {"type": "files", "path": "in", "resources": {"raw_t": {"files": "*.csv", **resource}}, **(source or {})}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (block(encoding="utf-88"), "not a text encoding"),
        (block(columns={"a": {"from": 0}}), "needs `header: false`"),
        (block(primary_key=["b"], columns={"a": {}}), "names 'b'"),
        (block(columns={"_load_id": {}}), "the engine's own"),
        (block({"endpoint": "http://127.0.0.1:1"}), "s3://"),
        (block({"path": "s3://b", "access_key": "k"}), "come together"),
        (block(delimeter=";"), "delimeter"),
    ],
    ids=["encoding", "position", "key", "reserved", "endpoint", "half a key", "unknown word"],
)
def test_a_wrong_block_says_what_is_wrong(wrong, words):
    with pytest.raises(ValidationError, match=words):
        FilesSource.model_validate(wrong)


def test_the_table_is_named_by_the_resource_or_by_its_own_word():
    for resource, name in (({}, "raw_t"), ({"table": "raw_other"}, "raw_other")):
        [one] = FilesSource.model_validate(block(**resource)).resources_of("history", {})
        assert (one.name, one.table.name) == ("raw_t", name)
        assert [column.name for column in one.table.columns] == ["_file"]


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        (FakerSource, {"type": "faker", "resources": {"raw_customer": {}}}),
        (FakerSource, {"type": "faker", "resources": {"raw_customers": {"first": 0}}}),
        (FakerSource, {"type": "faker", "seed": -1}),
        (KafkaSource, {"type": "kafka", "resources": {}}),
    ],
)
def test_a_wrong_faker_or_kafka_block_is_refused(model, wrong):
    with pytest.raises(ValidationError):
        model.model_validate(wrong)


def test_settings_import_nothing_heavy():
    code = (
        "import sys, sources.files.settings, sources.faker.settings, sources.kafka.settings\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"
