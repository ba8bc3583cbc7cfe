from concurrent.futures import ThreadPoolExecutor

from engine.plan.plan import save, saved


def test_pipelines_that_end_together_each_save_a_whole_plan(tmp_path):
    path = tmp_path / "state" / "plan.json"
    documents = [{"number": number, "filling": "x" * 10_000} for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda document: save(document, path), documents))
    assert saved(path) in documents
    assert [file.name for file in path.parent.iterdir()] == ["plan.json"]
