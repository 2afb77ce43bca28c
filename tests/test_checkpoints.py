"""Weights come whole or not at all, run no code, and fit the network that they are said to be."""

import http.server
import json
import pickle
import threading
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import vidmem  # noqa: E402
from vidmem.cli.main import main  # noqa: E402
from vidmem.download import fetch  # noqa: E402
from vidmem.errors import ModelError  # noqa: E402
from vidmem.installed import file_hash  # noqa: E402
from vidmem.networks.sam2.checkpoints import checkpoint_path, checkpoint_url, load_sam2, official_names  # noqa: E402
from vidmem.networks.sam2.config import CONFIGS  # noqa: E402
from vidmem.networks.sam2.model import Sam2  # noqa: E402

SIZE = 64


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    model = Sam2(CONFIGS["sam2.1-tiny"].at(SIZE))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return model.state_dict()


@pytest.fixture(scope="module")
def files(weights, tmp_path_factory):
    """The same weights as an official `.pt` and as safetensors."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    torch.save({"model": weights}, folder / "official.pt")
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "same.safetensors")
    return folder


def test_an_official_checkpoint_and_safetensors_give_back_the_weights(files, weights):
    for name in ("official.pt", "same.safetensors"):
        loaded = load_sam2("sam2.1-tiny", files / name, SIZE).state_dict()
        assert loaded.keys() == weights.keys() and all(torch.equal(loaded[k], weights[k]) for k in weights)


def test_a_session_runs_on_the_weights_that_were_named(files):
    frame = np.random.default_rng(0).integers(0, 255, (48, 80, 3)).astype(np.uint8)
    logits = []
    for name in ("official.pt", "same.safetensors"):
        tracker = vidmem.load("sam2.1-tiny", weights=files / name, image_size=SIZE)
        with tracker.session() as session:
            session.add(1, box=(10, 10, 40, 40))
            result = [session.step(frame), session.step(frame)][1]
        assert result.masks.shape == (1, 48, 80) and result.mask_logits.shape == (1, SIZE // 4, SIZE // 4)
        logits.append(result.mask_logits)
    assert np.array_equal(*logits)


def test_transformers_names_become_the_official_ones(weights, files, tmp_path):
    transformers = pytest.importorskip("transformers")
    from safetensors.torch import save_file

    theirs = transformers.Sam2VideoModel(transformers.Sam2VideoConfig()).eval()
    state = {k: v.contiguous().clone() for k, v in theirs.state_dict().items()}
    assert official_names(state).keys() == weights.keys()
    save_file(state, tmp_path / "model.safetensors")
    ours = load_sam2("sam2.1-tiny", tmp_path / "model.safetensors", 1024)
    image = torch.randint(0, 255, (1, 1024, 1024, 3), dtype=torch.uint8)
    with torch.inference_mode():
        maps = theirs.get_image_features((image.permute(0, 3, 1, 2) - ours.mean) / ours.std).fpn_hidden_states
        feature, skip4, skip8 = ours.encode(image)
    for mine, other in zip((skip4, skip8, feature), maps):
        assert torch.allclose(mine.flatten(2).permute(2, 0, 1), other, atol=1e-4)


class Harm:
    def __reduce__(self):
        return (open, ("harm-was-done", "w"))


@pytest.mark.parametrize("how", ["zip", "plain"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(how, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    if how == "plain":
        path.write_bytes(pickle.dumps({"model": Harm()}))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("evil/data.pkl", pickle.dumps({"model": Harm()}, protocol=2))
            archive.writestr("evil/version", "3\n")
    with pytest.raises(ModelError, match="evil.pt is not a whole checkpoint of tensors"):
        load_sam2("sam2.1-tiny", path, SIZE)
    assert not (tmp_path / "harm-was-done").exists()


@pytest.mark.parametrize("name", ["official.pt", "same.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_file_that_was_cut_off_is_refused(name, share, files, tmp_path):
    data, path = (files / name).read_bytes(), tmp_path / name
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match=f"{name} is not a whole"):
        load_sam2("sam2.1-tiny", path, SIZE)


def test_another_size_version_or_table_is_refused_by_its_keys(files, tmp_path):
    with pytest.raises(ModelError, match=r"not sam2.1-small: missing .*blocks\.12.* it looks like another size"):
        load_sam2("sam2.1-small", files / "official.pt", SIZE)
    with pytest.raises(ModelError, match=r"not sam2-tiny: missing nothing, unexpected no_obj_embed_spatial"):
        load_sam2("sam2-tiny", files / "official.pt", SIZE)
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"missing .* and \d+ more, unexpected a$"):
        load_sam2("sam2.1-tiny", tmp_path / "other.pt", SIZE)
    torch.save({"model": "text"}, tmp_path / "text.pt")
    torch.save({0: torch.zeros(1)}, tmp_path / "number.pt")
    for name in ("text.pt", "number.pt"):
        with pytest.raises(ModelError, match="holds no table of tensors"):
            load_sam2("sam2.1-tiny", tmp_path / name, SIZE)


def test_a_missing_file_names_the_command_that_fetches_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDMEM_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="vidmem models get sam2.1-tiny"):
        vidmem.load("sam2.1-tiny")
    with pytest.raises(ModelError, match=r"no weights at .*none.pt; expected a \.pt or \.safetensors file"):
        vidmem.load("sam2.1-tiny", weights=tmp_path / "none.pt")


@pytest.mark.parametrize("wrong, message", [
    ({"image_size": 100}, "image_size=100; expected a multiple of 32"),
    ({"precision": "int8"}, "precision='int8' with the pytorch runtime; expected 'fp32' or 'bf16'"),
    ({"runtime": "openvino", "device": "cuda"}, "device 'cuda' with the openvino runtime; it runs on the CPU"),
    ({"runtime": "onnx", "precision": "bf16"}, "precision='bf16' with the onnx runtime; expected 'fp32'"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(wrong, message, files):
    with pytest.raises(ModelError, match=message):
        vidmem.load("sam2.1-tiny", weights=files / "official.pt", **{"image_size": SIZE} | wrong)


def test_bfloat16_gives_nearly_the_same_masks(files):
    frame = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8)
    logits = []
    for precision in ("fp32", "bf16"):
        with vidmem.load(
            "sam2.1-tiny", weights=files / "official.pt", image_size=SIZE, precision=precision
        ).session() as session:
            session.add(1, points=[[30, 30]], labels=[1])
            logits.append([session.step(frame), session.step(frame)][1].mask_logits)
    assert np.abs(logits[0] - logits[1]).max() < 0.05 * max(1.0, np.abs(logits[0]).max()) and not np.array_equal(
        *logits
    )


# Downloads -----------------------------------------------------------------------------------------------------------
CONTENT = np.random.default_rng(3).bytes(3_000_000)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; `cut` ends a reply early, `asked` records the ranges."""

    cut, asked = None, []

    def do_GET(self):
        if self.path != "/model.pt":
            return self.send_error(404)
        self.asked.append(self.headers.get("Range"))
        first = int((self.headers.get("Range") or "bytes=0-").split("=")[1].rstrip("-"))
        if first >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            return self.end_headers()
        self.send_response(206 if first else 200)
        self.send_header("ETag", '"one"')
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - first))
        self.end_headers()
        self.wfile.write(CONTENT[first : self.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def url():
    Server.cut, Server.asked = None, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/model.pt"
        server.shutdown()


def test_a_download_is_whole_recorded_and_tells_its_progress(url, tmp_path):
    path, told = tmp_path / "sub" / "model.pt", []
    record = fetch(url, path, lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT and told[-1] == (len(CONTENT), len(CONTENT)) and len(told) > 1
    assert record == json.loads((tmp_path / "sub" / "model.pt.json").read_text())
    assert record["sha256"] == file_hash(path) and record["bytes"] == len(CONTENT)
    assert sorted(p.name for p in path.parent.iterdir()) == ["model.pt", "model.pt.json"]


def test_a_download_that_broke_off_leaves_no_file_and_goes_on(url, tmp_path):
    path, Server.cut = tmp_path / "model.pt", 1_200_000
    with pytest.raises(ModelError, match="run the same command again|cannot be reached"):
        fetch(url, path)
    assert not path.exists()
    had, Server.cut = (tmp_path / "model.pt.part").stat().st_size, None
    assert had > 0
    fetch(url, path)
    assert Server.asked == [None, f"bytes={had}-"] and path.read_bytes() == CONTENT


def test_another_hash_than_the_expected_or_the_recorded_one_is_thrown_away(url, tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(ModelError, match="expected 00 as was asked for; the file was thrown away"):
        fetch(url, path, sha256="00")
    assert not list(tmp_path.iterdir())
    (tmp_path / "model.pt.json").write_text(json.dumps({"sha256": "11"}))
    with pytest.raises(ModelError, match="expected 11 as recorded in .*model.pt.json; delete that"):
        fetch(url, path)
    assert not path.exists()


def test_a_part_that_nothing_is_known_of_is_begun_again(url, tmp_path):
    for begun in (CONTENT + b"more", CONTENT[:1000], b"of another file"):
        (tmp_path / "model.pt.part").write_bytes(begun)
        fetch(url, tmp_path / "model.pt")
        assert (tmp_path / "model.pt").read_bytes() == CONTENT and Server.asked.pop() is None


def test_a_whole_part_that_was_never_renamed_is_taken(url, tmp_path):
    (tmp_path / "model.pt.part").write_bytes(CONTENT)
    (tmp_path / "model.pt.part.json").write_text(json.dumps({"url": url, "version": '"one"', "bytes": len(CONTENT)}))
    assert fetch(url, tmp_path / "model.pt")["bytes"] == len(CONTENT) and Server.asked == [f"bytes={len(CONTENT)}-"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pt", "model.pt.json"]


@pytest.mark.parametrize("there", ["http://127.0.0.1:9/x.pt", "missing"])
def test_no_network_or_no_file_says_what_to_do_by_hand(there, url, tmp_path):
    target = url.replace("model.pt", "other.pt") if there == "missing" else there
    with pytest.raises(ModelError, match=r"download it elsewhere and put it at .*a\.pt, or name it with --weights"):
        fetch(target, tmp_path / "a.pt")


def test_the_command_line_fetches_lists_and_refuses(url, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VIDMEM_CACHE", str(tmp_path))
    assert checkpoint_url("sam2.1-base-plus").endswith("/092824/sam2.1_hiera_base_plus.pt")
    monkeypatch.setattr("vidmem.networks.sam2.checkpoints.checkpoint_url", lambda name: url)
    assert main(["models", "get", "sam2.1-tiny"]) == 0
    assert checkpoint_path("sam2.1-tiny").read_bytes() == CONTENT
    assert file_hash(checkpoint_path("sam2.1-tiny")) in capsys.readouterr().out
    assert main(["models", "get", "sam2.1-tiny"]) == 0 and "here already" in capsys.readouterr().out
    assert main(["models", "get", "sam2.1-tiny", "--sha256", "00"]) == 2 and "not 00" in capsys.readouterr().err
    assert main(["models", "get", "nano"]) == 0 and "comes with vidmem" in capsys.readouterr().out
    assert main(["models", "get", "sam9"]) == 2 and "there is no model 'sam9'" in capsys.readouterr().err
    assert main(["models", "get"]) == 2 and "which one?" in capsys.readouterr().err
    assert main(["models"]) == 0 and "model.pt (3.0 MB)" in capsys.readouterr().out


def test_the_file_format_is_told_by_content_where_the_name_says_nothing(files, tmp_path):
    for name in ("official.pt", "same.safetensors"):
        copy = tmp_path / f"{name.split('.')[0]}.bin"
        copy.write_bytes((files / name).read_bytes())
        assert isinstance(load_sam2("sam2.1-tiny", copy, SIZE), Sam2)
