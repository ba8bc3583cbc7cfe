from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from engine.plan import plan
from engine.plan.plan import keep, save, saved


def test_pipelines_that_end_together_each_save_a_whole_plan(tmp_path):
    path = tmp_path / "state" / "plan.json"
    documents = [{"number": number, "filling": "x" * 10_000} for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda document: save(document, path), documents))
    assert saved(path) in documents
    assert [file.name for file in path.parent.iterdir()] == ["plan.json"]


def test_a_full_disk_fails_no_run_for_its_plan(tmp_path, monkeypatch):
    """It has landed and loaded by then: without an end in the ledger it would be told as one that died."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plan, "save", full)
    monkeypatch.setattr(plan, "plan_document", lambda *_: {})
    keep(SimpleNamespace(data_dir=tmp_path), "daily")
