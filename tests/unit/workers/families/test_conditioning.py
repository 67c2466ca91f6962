import pytest
import torch
from safetensors.torch import save

from app.domain.errors import CorruptBlobError
from workers.families.conditioning import Conditioning, stack

TEXT = torch.arange(24.0).reshape(2, 3, 4)
POOLED = torch.arange(10.0).reshape(2, 5)


@pytest.mark.parametrize("pooled", [None, POOLED], ids=["tokens", "tokens and pooled"])
def test_what_is_stored_is_what_is_read(pooled):
    found = Conditioning.from_bytes(Conditioning(TEXT, pooled).to_bytes())

    torch.testing.assert_close(found.text, TEXT, rtol=0, atol=0)
    assert (found.pooled is None) == (pooled is None)
    if pooled is not None:
        torch.testing.assert_close(found.pooled, pooled, rtol=0, atol=0)


def test_equal_prompts_are_stored_as_equal_bytes():
    first, second = Conditioning(TEXT, POOLED), Conditioning(TEXT.clone(), POOLED.clone())

    assert first.to_bytes() == second.to_bytes()


def test_a_view_of_larger_arrays_stores_only_itself():
    alone = Conditioning(TEXT[:1].clone(), POOLED[:1].clone())

    assert Conditioning(TEXT[:1], POOLED[:1]).to_bytes() == alone.to_bytes()


def test_without_the_negative_prompt_one_row_is_left():
    found = Conditioning(TEXT, POOLED).without_negative()

    torch.testing.assert_close(found.text, TEXT[1:])
    torch.testing.assert_close(found.pooled, POOLED[1:])


def test_half_precision_embeddings_are_kept_in_single():
    halves = [array.half() for array in (TEXT[:1], TEXT[1:], POOLED[:1], POOLED[1:])]

    found = stack(*halves)

    assert (found.text.dtype, found.pooled.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(found.text, TEXT)
    torch.testing.assert_close(found.pooled, POOLED)


@pytest.mark.parametrize(
    "blob",
    [b"", b"\x80\x04N.", save({"pooled": POOLED}), Conditioning(TEXT).to_bytes()[:-1]],
    ids=["empty", "pickle", "no text", "cut off"],
)
def test_other_bytes_are_refused(blob):
    with pytest.raises(CorruptBlobError) as caught:
        Conditioning.from_bytes(blob)

    assert str(caught.value) == (f"a prompt blob must be safetensors with text, got {len(blob)} B")
