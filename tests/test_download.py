"""What is accepted from the network is the file that was meant, whoever else downloads it and whatever the server does meanwhile."""

import hashlib
import http.server
import threading

import pytest

from vidmem.download import fetch
from vidmem.errors import ModelError
from vidmem.installed import file_hash

OLD, NEW = b"o" * 300_000, b"n" * 300_000


class Server(http.server.BaseHTTPRequestHandler):
    """kind, from the address: how the server misbehaves after the first, cut-off answer."""

    asked: list[tuple[str | None, str | None]] = []

    def log_message(self, *args):
        pass

    def do_GET(self):
        kind, given = self.path.strip("/"), self.headers.get("Range")
        self.asked.append((given, self.headers.get("If-Range")))
        first = int(given.split("=")[1].rstrip("-")) if given else 0
        again = len(self.asked) > 1
        content = NEW if again and kind.startswith("changed") else OLD
        if kind == "changed" and given:  # an honest server: If-Range no longer fits, so the whole new file
            given, first = None, 0
        self.send_response(206 if given else 200)
        if kind != "nothing-said":
            self.send_header("ETag", f'"{content[:1].decode()}"')
        if given and kind != "no-content-range":
            shift = 5 if kind == "other-range" else 0
            size = len(content) + (7 if kind == "other-size" else 0)
            self.send_header("Content-Range", f"bytes {first - shift}-{size - 1}/{size}")
        if kind != "no-length":
            self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        cut = kind == "no-length" or (not again and kind != "whole")
        self.wfile.write(content[first:][: 100_000 if cut else None])


@pytest.fixture
def base():
    Server.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("kind, content", [
    ("honest", OLD), ("changed", NEW), ("changed-and-silent", NEW), ("nothing-said", OLD), ("no-content-range", OLD), ("other-range", OLD), ("other-size", OLD),
])  # fmt: skip
def test_a_second_try_ends_with_one_whole_file_and_no_mixture(base, tmp_path, kind, content):
    path = tmp_path / "x.pt"
    with pytest.raises(ModelError):
        fetch(f"{base}/{kind}", path)
    assert not path.exists()
    fetch(f"{base}/{kind}", path)
    assert path.read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.pt", "x.pt.json"]
    if kind == "honest":
        assert Server.asked[1] == ("bytes=100000-", '"o"')


def test_without_a_length_a_file_is_taken_by_its_hash_alone(base, tmp_path):
    with pytest.raises(
        ModelError, match="100000 bytes came, and the server does not say how many there are; name the file's --sha256"
    ):
        fetch(f"{base}/no-length", tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())
    (tmp_path / "same").write_bytes(OLD[:100_000])
    assert fetch(f"{base}/no-length", tmp_path / "x.pt", sha256=file_hash(tmp_path / "same"))["bytes"] == 100_000


def test_of_two_downloads_at_once_one_is_told_to_wait(base, tmp_path):
    def second(done, total):
        with pytest.raises(ModelError, match="another process is downloading .*x.pt; wait for it"):
            fetch(f"{base}/whole", tmp_path / "x.pt")
        told.append(done)

    told = []
    fetch(f"{base}/whole", tmp_path / "x.pt", second)
    assert told and (tmp_path / "x.pt").read_bytes() == OLD


@pytest.mark.parametrize("record", ["not json", "[1]", '{"sha256": 5}', "[" * 100_000])
def test_a_damaged_record_is_said_and_not_passed_over(base, tmp_path, record):
    (tmp_path / "x.pt.json").write_text(record)
    with pytest.raises(ModelError, match="x.pt.json should hold the hash of an earlier download, and is damaged"):
        fetch(f"{base}/whole", tmp_path / "x.pt")
    assert fetch(f"{base}/whole", tmp_path / "x.pt", sha256=hashlib.sha256(OLD).hexdigest())["bytes"] == len(OLD)
