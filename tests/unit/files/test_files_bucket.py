import pytest
from dlt.extract.exceptions import ResourceExtractionError

from engine.errors import SourceError
from tests.conformance.s3_server import s3_server

ROWS = "x,price\n{n},0.123456789012345678\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def bucket(server, request):
    import s3fs

    files = s3fs.S3FileSystem(
        key=server.access_key,
        secret=server.secret_key,
        endpoint_url=server.url,
        client_kwargs={"region_name": "us-east-1"},
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    name = f"b{abs(hash(request.node.name))}"
    files.mkdir(name)
    return files, name


def block(server, name, **changes):
    return {
        "path": f"s3://{name}/in",
        "endpoint": server.url,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        **changes,
    }


def test_new_objects_only_in_name_order(reading, server, bucket):
    files, name = bucket
    for number in (2, 1):
        files.pipe(f"{name}/in/sub/{number}.csv", ROWS.format(n=number).encode())
    files.pipe(f"{name}/other/3.csv", b"x\n3\n")
    files.pipe(f"{name}/in/sub/note.txt", b"x\n3\n")
    resource = {"files": "**/*.csv", "columns": {"price": {"type": "decimal"}}}
    pages, notices = reading(resource, **block(server, name))
    assert notices == []
    assert [page["_file"].to_pylist() for page in pages] == [["sub/1.csv"], ["sub/2.csv"]]
    assert str(pages[0]["price"][0].as_py()) == "0.123456789012345678"
    assert reading(resource, **block(server, name))[0] == []
    files.pipe(f"{name}/in/sub/1.csv", ROWS.format(n=1).encode())
    assert reading(resource, **block(server, name))[0] == [], "the same content put again is not new"
    files.pipe(f"{name}/in/sub/1.csv", ROWS.format(n=9).encode())
    assert [page["x"].to_pylist() for page in reading(resource, **block(server, name))[0]] == [["9"]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"secret_key": "wrong+/canary"}, ["refuses", "access_key"]),
        ({"path": "s3://no-such-bucket/in"}, ["no s3://no-such-bucket/in", "endpoint"]),
        ({"endpoint": "http://127.0.0.1:9"}, ["http://127.0.0.1:9", "failed"]),
    ],
    ids=["key", "bucket", "server"],
)
def test_what_is_wrong_is_said_without_a_secret(reading, server, bucket, changes, words):
    _, name = bucket
    with pytest.raises(ResourceExtractionError) as caught:
        reading({"files": "*"}, **block(server, name, **changes))
    error = caught.value.__cause__
    assert isinstance(error, SourceError)
    assert all(word in str(error) for word in words), str(error)
    assert "canary" not in str(caught.value)
    assert server.secret_key not in str(caught.value)
