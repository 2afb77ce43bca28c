"""Each stage of SAM 2 equals the official code on random inputs and weights, in every size and version.

The floor is 1e-4; float32 in another order of additions gives about 1e-5 where activations are about 3.
"""

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from official import CONFIGS, build  # noqa: E402

from vidmem.networks.sam2.model import NO_OBJECT, single_answer  # noqa: E402

SIZE = 256
NEAR = {"rtol": 0, "atol": 1e-4}


@pytest.fixture(scope="module", params=CONFIGS)
def both(request):
    torch.manual_seed(1)
    with torch.inference_mode():
        official, ours = build(request.param, SIZE)
        image = torch.randint(0, 255, (1, SIZE, SIZE, 3), dtype=torch.uint8)
        normalised = (image.permute(0, 3, 1, 2) - ours.mean) / ours.std
        yield official, ours, official.forward_image(normalised)["backbone_fpn"], ours.encode(image)


def test_image_encoder(both):
    _, _, (skip4, skip8, feature), ours = both
    for mine, theirs in zip(ours, (feature, skip4, skip8)):
        assert mine.abs().mean() > 0.1 and torch.allclose(mine, theirs, **NEAR)


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("with_mask", [True, False])
@pytest.mark.parametrize("presence", [0.5, -0.5])
def test_prompt_encoder_decoder_and_pointer(both, several, with_mask, presence, monkeypatch):
    official, ours, _, (feature, skip4, skip8) = both
    with torch.inference_mode():
        for head in (official.sam_mask_decoder.pred_obj_score_head, ours.sam_mask_decoder.pred_obj_score_head):
            head.layers[-1].bias.fill_(presence)
            head.layers[-1].weight.mul_(0).add_(1e-4)
        rows = torch.cat([feature, 0.9 * feature])
        points, labels = torch.rand(2, 3, 2) * SIZE, torch.tensor([[1, 0, 1], [2, 3, 1]], dtype=torch.int32)
        mask = 5 * torch.randn(2, 1, SIZE // 4, SIZE // 4)
        skips = [skip4.expand(2, -1, -1, -1), skip8.expand(2, -1, -1, -1)]
        asked = {"point_coords": points, "point_labels": labels}
        theirs = official._forward_sam_heads(rows, asked, mask if with_mask else None, skips, several)

        padded, kinds = torch.cat([points, torch.zeros(2, 1, 2)], 1), torch.cat([labels, -torch.ones(2, 1)], 1)
        logits, iou, pointers, object_logit = ours.decode(
            rows, skip4, skip8, padded, kinds, mask, torch.tensor([with_mask] * 2)
        )
        if several:
            logits, iou, pointers = logits[:, 1:], iou[:, 1:], pointers[:, 1:]
        else:
            logits, iou = single_answer(logits, iou)
        logits = torch.where((object_logit > 0)[:, None, None, None], logits, NO_OBJECT)
        pointer = pointers[torch.arange(2), iou.argmax(1) if several else 0]
        for mine, other in (
            (logits, theirs[0]),
            (iou, theirs[2]),
            (pointer, theirs[5]),
            (object_logit, theirs[6][:, 0]),
        ):
            assert torch.allclose(mine, other, **NEAR)
        assert (object_logit > 0).all() == (presence > 0)


def test_memory_encoder_and_memory_attention(both):
    official, ours, _, (feature, *_) = both
    with torch.inference_mode():
        low, present = 5 * torch.randn(2, 1, SIZE // 4, SIZE // 4), torch.tensor([1.0, -1.0])
        high = F.interpolate(low, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        flat = feature.flatten(2).permute(2, 0, 1).expand(-1, 2, -1)
        theirs, (position,) = official._encode_new_memory([flat], [feature.shape[-2:]], high, present[:, None], False)
        theirs = theirs.flatten(2).transpose(1, 2)
        ours.memory_encoder.register_forward_hook(lambda *call: raw.append(call[-1]))
        raw: list = []
        memory, keys = ours.memorize(feature, low, present > 0, torch.tensor([False, False]))
        present_row = raw[0].flatten(2).transpose(1, 2)[0]
        assert torch.allclose(present_row, theirs[0], **NEAR)
        # The rest is compared after the rounding that the official predictor does: neighbours in bfloat16 are 2**-8 apart.
        assert memory.dtype == torch.bfloat16
        assert torch.allclose(memory.float(), theirs, rtol=2**-7, atol=1e-4)

        memory = memory.float()
        older, pointers = 0.5 * memory, torch.randn(2, 3, 256)
        distances = torch.tensor([[5.0, 1.0, 2.0]] * 2) / 15
        position, codes = position.flatten(2).transpose(1, 2)[:1], official.maskmem_tpos_enc[:, 0, 0]
        time = torch.zeros(3, 64)
        if ours.config.pointer_time:
            from sam2.modeling.sam2_utils import get_1d_sine_pe

            time = official.obj_ptr_tpos_proj(get_1d_sine_pe(distances[0], 256))
        tokens = torch.cat([memory, older, pointers.reshape(2, 12, 64)], 1)
        places = torch.cat([position + codes[6], position + codes[0], time.repeat_interleave(4, 0)[None]], 1).expand(
            2, -1, -1
        )
        query = official.image_encoder.neck.position_encoding(feature).flatten(2).permute(2, 0, 1).expand(-1, 2, -1)
        theirs = official.memory_attention(
            curr=[flat], curr_pos=[query], memory=tokens.transpose(0, 1), memory_pos=places.transpose(0, 1),
            num_obj_ptr_tokens=12,
        )  # fmt: skip
        older_keys = ours.memory_attention.project(older)
        all_keys = [[k[:, row : row + 1] for k in (keys, older_keys)] for row in range(2)]
        all_memory = [[m[row : row + 1] for m in (memory, older)] for row in range(2)]
        mine = ours.attend(feature, *ours.gather(all_keys, all_memory, [[6, 0]] * 2, pointers, distances))
        assert mine.std() > 0.5
        assert torch.allclose(mine, theirs.permute(1, 2, 0).reshape(mine.shape), **NEAR)


def test_the_first_frame_adds_the_no_memory_embedding(both):
    official, ours, _, (feature, *_) = both
    flat = feature.flatten(2).permute(2, 0, 1)
    theirs = official._prepare_memory_conditioned_features(0, True, [flat], [flat], [feature.shape[-2:]], {}, 1)
    assert torch.equal(ours.without_memory(feature), theirs)


@pytest.mark.parametrize("size", [100, 32, 1000])
def test_sizes_that_the_windows_cannot_cut_are_refused(size):
    with pytest.raises(ValueError, match=f"image_size={size}; expected a multiple of 32"):
        CONFIGS["sam2.1-tiny"].at(size)


def test_the_single_answer_falls_back_only_when_it_is_unstable():
    steady = torch.full((1, 4, 8, 8), -5.0)
    steady[:, 0, :4], steady[:, 2, 4:] = 5.0, 5.0
    iou = torch.tensor([[0.3, 0.1, 0.9, 0.2]])
    assert torch.equal(single_answer(steady, iou)[0][:, 0], steady[:, 0])
    shaky = steady.clone()
    shaky[:, 0, 4:] = 0.01
    logits, quality = single_answer(shaky, iou)
    assert torch.equal(logits[:, 0], shaky[:, 2]) and quality.item() == pytest.approx(0.9)
    assert torch.equal(single_answer(shaky, iou, fallback=False)[0][:, 0], shaky[:, 0])
