from types import SimpleNamespace

import pytest

from engine.models.transform import landing_tables
from engine.table import Column, Table

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SQLMesh's own, while it is imported


def test_models_without_a_query_are_left_out(tmp_path):
    """A seed and a model in Python stand beside one in SQL."""
    from sqlmesh import Context
    from sqlmesh.core.config import Config, DuckDBConnectionConfig, ModelDefaultsConfig

    files = {
        "models/known.sql": "MODEL (name raw.known, kind FULL);\nSELECT t.x::BIGINT AS x FROM landing.raw_known AS t",
        "models/seed.sql": "MODEL (name raw.seed, kind SEED (path 'seed.csv'), columns (x INT));",
        "models/seed.csv": "x\n1\n",
        "models/made.py": (
            "import pandas as pd\nfrom sqlmesh import model\n\n"
            "@model('raw.made', columns={'x': 'int'})\n"
            "def made(context, **kwargs):\n    return pd.DataFrame({'x': [1]})\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    config = Config(
        default_connection=DuckDBConnectionConfig(),
        model_defaults=ModelDefaultsConfig(dialect="duckdb"),
        cache_dir=str(tmp_path / "cache"),
        infer_python_dependencies=False,
        disable_anonymized_analytics=True,
    )
    context = Context(paths=[str(tmp_path)], config=config)
    try:
        assert len(context.models) == 3
        assert landing_tables(SimpleNamespace(models=context.models)) == [Table("raw_known", (Column("x", "bigint"),))]
    finally:
        context.close()
