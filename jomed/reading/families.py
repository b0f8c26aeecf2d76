"""What differs between the reader families: Qwen2-VL, Qwen2.5-VL, Qwen3-VL and Pixtral (LLaVA)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch.nn.functional import pad
from transformers import (
    LlavaForConditionalGeneration,
    PixtralProcessor,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)


class ReaderFamily(ABC):
    """Model and processor classes of a family, and its own handling of images and positions."""

    name: ClassVar[str]
    model_class: ClassVar[Any]
    processor_class: ClassVar[Any]
    geometry_name: ClassVar[str]
    """Name of the processor's output that holds one row of sizes per image."""
    not_adapted: ClassVar[str]
    """Pattern of the linear layers between the towers, which get no LoRA weights (stage 1)."""
    tower: ClassVar[str]
    """Pattern of the modules of the vision tower."""
    never_quantised: ClassVar[tuple[str, ...]]
    """Modules that keep their precision: the head, the vision tower, what joins the towers."""

    @abstractmethod
    def join_pixels(self, pixels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the pixel tensor of several images from the processor's tensor of each."""

    @abstractmethod
    def split_pixels(self, pixels: torch.Tensor, geometry: torch.Tensor) -> list[torch.Tensor]:
        """Return the tensor of each image from that of several; the reverse of `join_pixels`."""

    @abstractmethod
    def text_inputs(self, ids: torch.Tensor, image_token: int) -> dict[str, torch.Tensor]:
        """Return what the model needs to know about token ids (B, L) besides the ids."""

    @abstractmethod
    def positions(
        self, core: Any, ids: torch.Tensor, mask: torch.Tensor, geometry: torch.Tensor, image: int
    ) -> torch.Tensor:
        """Return the rotary positions (R, B, L) of right-padded prompts.

        R is 3 (time, height, width) or 1; ``mask`` is 1 at real tokens; ``geometry`` has one row
        per image of the batch, ``image`` is the image token's id. All tensors are on the CPU.
        """

    def image_inputs(
        self, pixels: Sequence[torch.Tensor], geometry: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the model's arguments for images: joined pixels and sizes."""
        return {"pixel_values": self.join_pixels(pixels), self.geometry_name: geometry}

    def features(self, output: Any) -> list[torch.Tensor]:
        """Return what the vision tower's output holds of each image, (n_i, H) or (n_i, D x H).

        The first H columns take the place of the image tokens. Where there are more, the text
        model adds the k-th H columns to the hidden states behind its k-th layer (DeepStack).
        """
        return list(output.pooler_output)


class Qwen2VL(ReaderFamily):
    """Qwen2-VL: patches of all images in one list, three-axis rotary positions."""

    name = "qwen2_vl"
    model_class = Qwen2VLForConditionalGeneration
    processor_class = Qwen2VLProcessor
    geometry_name = "image_grid_thw"
    not_adapted = r".*\.merger\..*"
    tower = r".*\.visual\..*"
    never_quantised = ("lm_head", "model.visual")

    def join_pixels(self, pixels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Concatenate the images' patches."""
        return torch.cat(list(pixels))

    def split_pixels(self, pixels: torch.Tensor, geometry: torch.Tensor) -> list[torch.Tensor]:
        """Cut the list of patches: time x height x width of them for each image."""
        return list(pixels.split(geometry.prod(dim=1).tolist()))

    def text_inputs(self, ids: torch.Tensor, image_token: int) -> dict[str, torch.Tensor]:
        """Tell image tokens (1) from text (0)."""
        return {"mm_token_type_ids": (ids == image_token).int()}

    def positions(
        self, core: Any, ids: torch.Tensor, mask: torch.Tensor, geometry: torch.Tensor, image: int
    ) -> torch.Tensor:
        """Take the positions from the model's own rule."""
        types = self.text_inputs(ids, image)["mm_token_type_ids"]
        positions, _ = core.get_rope_index(
            input_ids=ids, mm_token_type_ids=types, image_grid_thw=geometry, attention_mask=mask
        )
        return torch.as_tensor(positions)


class Qwen25VL(Qwen2VL):
    """Qwen2.5-VL: Qwen2-VL whose vision tower attends within windows in most of its layers."""

    name = "qwen2_5_vl"
    model_class = Qwen2_5_VLForConditionalGeneration
    processor_class = Qwen2_5_VLProcessor


class Qwen3VL(Qwen2VL):
    """Qwen3-VL: Qwen2-VL whose text model also sees the vision tower's inner layers (DeepStack)."""

    name = "qwen3_vl"
    model_class = Qwen3VLForConditionalGeneration
    processor_class = Qwen3VLProcessor
    not_adapted = r".*\.(merger|deepstack_merger_list)\..*"

    def features(self, output: Any) -> list[torch.Tensor]:
        """Put the features of the inner layers beside those of the last one."""
        levels = zip(output.pooler_output, *output.deepstack_features, strict=True)
        return [torch.cat(parts, dim=1) for parts in levels]


class Pixtral(ReaderFamily):
    """Pixtral tower and Mistral text model in LLaVA: plain positions."""

    name = "pixtral"
    model_class = LlavaForConditionalGeneration
    processor_class = PixtralProcessor
    geometry_name = "image_sizes"
    not_adapted = r".*multi_modal_projector.*"
    tower = r".*\.vision_tower\..*"
    never_quantised = ("lm_head", "model.vision_tower", "model.multi_modal_projector")

    def join_pixels(self, pixels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Stack the images, filled up with zeros at the right and below (the model crops them)."""
        height = max(image.shape[-2] for image in pixels)
        width = max(image.shape[-1] for image in pixels)
        filled = [pad(p, (0, width - p.shape[-1], 0, height - p.shape[-2])) for p in pixels]
        return torch.cat(filled)

    def split_pixels(self, pixels: torch.Tensor, geometry: torch.Tensor) -> list[torch.Tensor]:
        """Crop each image to its size."""
        sizes = geometry.tolist()
        return [pixels[i : i + 1, :, :h, :w] for i, (h, w) in enumerate(sizes)]

    def text_inputs(self, ids: torch.Tensor, image_token: int) -> dict[str, torch.Tensor]:
        """Nothing: the model finds its image tokens by their id."""
        return {}

    def positions(
        self, core: Any, ids: torch.Tensor, mask: torch.Tensor, geometry: torch.Tensor, image: int
    ) -> torch.Tensor:
        """Count tokens from 0."""
        return torch.arange(ids.shape[1]).expand(1, *ids.shape)


FAMILIES: dict[str, ReaderFamily] = {
    family.name: family for family in (Qwen2VL(), Qwen25VL(), Qwen3VL(), Pixtral())
}
