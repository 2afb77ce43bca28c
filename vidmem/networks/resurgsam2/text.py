"""The text tower, which is CLIP ViT-B/32's own (Radford et al. 2021, arXiv 2103.00020) and not in ReSurgSAM2's files: transformers runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidmem.errors import ModelError, PromptError, RuntimeMissing
from vidmem.installed import cache_folder
from vidmem.networks.resurgsam2.config import TEXT_DIM

HUB = "openai/clip-vit-base-patch32"
FOLDER = HUB.rsplit("/", 1)[1]


def find_tower(weights: Path | None) -> Path | None:
    """A folder `clip-vit-base-patch32`, as `save_pretrained` or the hub has it, beside the weights or in the cache; None: there is none."""
    places = [Path(weights).parent] if weights is not None else []
    found = [place / FOLDER for place in [*places, cache_folder()] if (place / FOLDER / "config.json").is_file()]
    return found[0] if found else None


class TextTower:
    """text -> hidden (1, T, 512) and pooled (1, 512), of T tokens with begin and end. It is loaded when it is first asked.

    folder: as `find_tower` finds it, and then no network is touched; None: transformers takes it from its own cache, or fetches it.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self._loaded: tuple[Any, Any] | None = None

    def __call__(self, text: str) -> tuple[Any, Any]:
        import torch

        tokenizer, model = self._loaded = self._loaded or self._load()
        tokens = tokenizer(text, return_tensors="pt")["input_ids"]
        most = model.config.max_position_embeddings
        if tokens.shape[1] > most:
            raise PromptError(f"text has {tokens.shape[1] - 2} tokens; CLIP takes at most {most - 2}: say it shorter")
        with torch.inference_mode():
            out = model(input_ids=tokens)
        return out.last_hidden_state.float(), out.pooler_output.float()

    def _load(self) -> tuple[Any, Any]:
        try:
            import transformers
        except ImportError as error:
            raise RuntimeMissing("texts of ReSurgSAM2 need transformers: pip install transformers") from error
        where = HUB if self.folder is None else str(self.folder)
        how: dict[str, Any] = {} if self.folder is None else {"local_files_only": True}
        try:
            tokenizer = transformers.CLIPTokenizer.from_pretrained(where, **how)
            loaded: Any = transformers.CLIPTextModel.from_pretrained(where, output_loading_info=True, **how)
        except Exception as error:  # transformers and the hub raise many kinds
            said = " ".join(str(error).split())[:200]
            raise ModelError(
                f"{where} cannot be loaded as CLIP's text tower: {said}; put the folder {FOLDER} of {HUB} beside the weights"
            ) from error
        model, told = loaded
        missing = sorted(told["missing_keys"])
        if missing:
            raise ModelError(f"{where} is not {HUB}: {missing[0]} and {len(missing) - 1} more are missing")
        if model.config.hidden_size != TEXT_DIM:
            raise ModelError(f"{where} has {model.config.hidden_size} channels; expected {TEXT_DIM}, as {HUB} has")
        return tokenizer, model.eval()
