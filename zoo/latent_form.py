"""What a generator sees of a tokenizer's latents, and the way back to what the decoder takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from components.token_digits import join_digits, split_digits

if TYPE_CHECKING:
    from torch import Tensor

    from components.contracts import Latent

Form = Literal["quantised", "unquantised", "digits"]


@dataclass(frozen=True)
class LatentForm:
    """Normalised latents; or, of a discrete tokenizer, those before its quantiser, or the digits of its codes.

    A discrete tokenizer's decoder knows codes alone, so whatever was generated is brought to the nearest ones.
    """

    tokenizer: Any
    name: Form = "quantised"

    @property
    def channels(self) -> int:
        """Of what the generator sees: digits of a token, or the latent's own."""
        return len(self.tokenizer.factors) if self.name == "digits" else self.tokenizer.channels

    def of(self, latent: Latent) -> Tensor:
        """What `tokenizer.encode` gave, to [B, C, F, H, W]."""
        if self.name == "digits":
            assert latent.indices is not None
            return split_digits(latent.indices, self.tokenizer.factors)
        if self.name == "unquantised":
            assert latent.unquantised is not None
            return latent.unquantised
        return latent.z

    def codes(self, z_bcfhw: Tensor) -> Tensor:
        """What `tokenizer.decode_stream` takes, for a z of this form."""
        if self.name == "digits":
            return self.tokenizer.lookup(join_digits(z_bcfhw, self.tokenizer.factors))
        return self.tokenizer.quantise(z_bcfhw).z if self.tokenizer.kind == "discrete" else z_bcfhw
