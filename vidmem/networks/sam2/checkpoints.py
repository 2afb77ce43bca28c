"""SAM 2's published weights: where they are, and how they are read. Nothing is unpickled unsafely."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidmem.errors import ModelError
from vidmem.installed import cache_folder

BASE = "https://dl.fbaipublicfiles.com/segment_anything_2"
DATES = {"sam2.1": "092824", "sam2": "072824"}


def checkpoint_url(name: str) -> str:
    """sam2.1-base-plus -> where Meta publishes its `.pt`."""
    version, size = name.split("-", 1)
    return f"{BASE}/{DATES[version]}/{version}_hiera_{size.replace('-', '_')}.pt"


def checkpoint_path(name: str) -> Path:
    return cache_folder() / checkpoint_url(name).rsplit("/", 1)[1]


# Reading -------------------------------------------------------------------------------------------------------------
def load_sam2(name: str, path: Path | None = None, image_size: int = 1024):
    """Weights of SAM 2 or 2.1 -> `vidmem.networks.sam2.model.Sam2`, float32, on the CPU.

    name: a key of `vidmem.networks.sam2.config.CONFIGS`. path: an official `.pt` or a safetensors file, with the official names or
    those of transformers; None: the downloaded one. image_size: pixels a side of the network's input. Raises `ModelError`
    when the file is missing, cut off, unsafe, of another size or version, or the size cannot be.
    """
    from vidmem.networks.sam2.config import CONFIGS
    from vidmem.networks.sam2.model import Sam2

    given, path = path is not None, checkpoint_path(name) if path is None else Path(path)
    try:
        config = CONFIGS[name].at(image_size)
    except ValueError as error:
        raise ModelError(str(error)) from None
    help = "expected a .pt or .safetensors file" if given else f"fetch it with: vidmem models get {name}"
    return load_strictly(name, path, lambda: Sam2(config), help)


def load_strictly(name: str, path: Path, make: Callable[[], Any], help: str):
    """A file's tensors in the module that `make` makes, float32: each of its names and no other, in its shape. help: what to do where there
    is no such file. Raises `ModelError`."""
    import torch

    if not path.is_file():
        raise ModelError(f"no weights at {path}; {help}")
    tensors = official_names(read_tensors(path))
    with torch.device("meta"):
        expected = {key: tensor.shape for key, tensor in make().state_dict().items()}
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or extra:
        hint = "; it looks like another size or version" if len(missing) < len(expected) / 2 else ""
        raise ModelError(f"{path} is not {name}: missing {_some(missing)}, unexpected {_some(extra)}{hint}")
    wrong = [key for key, shape in expected.items() if tensors[key].shape != shape]
    if wrong:
        came, wanted = tuple(tensors[wrong[0]].shape), tuple(expected[wrong[0]])
        raise ModelError(f"{path} is not {name}: {wrong[0]} is {came}, expected {wanted}; it looks like another size")
    model = make()
    model.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    return model


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "") if keys else "nothing"


def read_tensors(path: Path) -> dict:
    """Tensors of a safetensors file or of a `.pt` that holds nothing but tensors. Raises `ModelError`."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror})") from error
    if path.suffix == ".safetensors" or not (zipped or path.suffix in {".pt", ".pth"}):
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ModelError(f"{path} is not a whole safetensors file ({error}); fetch it again") from error
    if zipped:
        _check_archive(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is cut off or that would run code
        unsafe = "Unsupported" in str(error) or "Weights only" in str(error)
        why = (
            "it holds more than tensors, and loading it could run code; do not trust it" if unsafe else "fetch it again"
        )
        raise ModelError(f"{path} is not a whole checkpoint of tensors: {why}") from error
    state = state.get("model", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    ):
        raise ModelError(f"{path} holds no table of tensors; expected an official SAM 2 checkpoint")
    return state


def _check_archive(path: Path) -> None:
    """torch writes its archives without compression; one that grows when it is read was made to fill the memory."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            holds = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ModelError(f"{path} is not a whole checkpoint of tensors ({error}): fetch it again") from error
    if holds > path.stat().st_size:
        raise ModelError(
            f"{path} is not a whole checkpoint of tensors: its {path.stat().st_size} bytes would grow to {holds}; do not trust it"
        )


_TOP = {
    "no_memory_embedding": "no_mem_embed",
    "no_memory_positional_encoding": "no_mem_pos_enc",
    "memory_temporal_positional_encoding": "maskmem_tpos_enc",
    "no_object_pointer": "no_obj_ptr",
    "occlusion_spatial_embedding_parameter": "no_obj_embed_spatial",
    "shared_image_embedding.positional_embedding": "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
}
_RENAMES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"^vision_encoder\.neck\.convs\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"^prompt_encoder\.mask_embed\.conv(\d)\.", lambda m: f"sam_prompt_encoder.mask_downscaling.{3 * int(m[1]) - 3}."),
    (
        r"^prompt_encoder\.mask_embed\.layer_norm(\d)\.",
        lambda m: f"sam_prompt_encoder.mask_downscaling.{3 * int(m[1]) - 2}.",
    ),
    (r"^prompt_encoder\.", "sam_prompt_encoder."),
    (r"^mask_decoder\.", "sam_mask_decoder."),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    (r"\.mask_downsampler\.layers\.(\d)\.conv\.", lambda m: f".mask_downsampler.encoder.{3 * int(m[1])}."),
    (r"\.mask_downsampler\.layers\.(\d)\.layer_norm\.", lambda m: f".mask_downsampler.encoder.{3 * int(m[1]) + 1}."),
    (r"\.mask_downsampler\.final_conv\.", ".mask_downsampler.encoder.12."),
    (r"^memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
    (r"^memory_encoder\.projection\.", "memory_encoder.out_proj."),
    (r"^memory_encoder\.memory_fuser\.", "memory_encoder.fuser."),
    (r"\.depthwise_conv\.", ".dwconv."),
    (r"\.pointwise_conv(\d)\.", r".pwconv\1."),
    (r"\.scale$", ".gamma"),
    (r"^object_pointer_proj\.", "obj_ptr_proj."),
    (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
    (r"\.o_proj\.", ".out_proj."),
    (r"\.layer_norm(\d?)\.", r".norm\1."),
]


def official_names(tensors: dict) -> dict:
    """Names of transformers' `Sam2VideoModel` -> those of the official checkpoints; these pass as they are."""
    if not any(key.startswith("vision_encoder.") for key in tensors):
        return tensors
    named: dict = {}
    for key, tensor in tensors.items():
        if key == "prompt_encoder.shared_embedding.positional_embedding":
            continue  # the shared one, a second time
        if key == "prompt_encoder.point_embed.weight":
            named |= {f"sam_prompt_encoder.point_embeddings.{i}.weight": row[None] for i, row in enumerate(tensor)}
            continue
        new = _TOP.get(key, key)
        for pattern, name in _RENAMES:
            new = re.sub(pattern, name, new)
        named[_mlp(new, tensors, key)] = tensor
    return named


def _mlp(name: str, tensors: dict, key: str) -> str:
    """proj_in, layers.0, ..., proj_out -> layers.0, layers.1, ..., the last."""
    if ".proj_in." in name:
        return name.replace(".proj_in.", ".layers.0.")
    stem = re.sub(r"\.(proj_out|layers\.\d+)\.(weight|bias)$", "", key)
    if f"{stem}.proj_out.weight" not in tensors:
        return name
    if ".proj_out." in name:
        inner = sum(k.startswith(f"{stem}.layers.") and k.endswith(".weight") for k in tensors)
        return name.replace(".proj_out.", f".layers.{inner + 1}.")
    return re.sub(r"\.layers\.(\d+)\.(weight|bias)$", lambda m: f".layers.{int(m[1]) + 1}.{m[2]}", name)
