"""reshape_and_cache: writes the keys and values of new tokens into their slots of a paged cache."""

from typing import TYPE_CHECKING

from ..operator import Dim, Inputs, New, Operator, Spec
from ..units import FloatDtype, nbytes
from ..work import Work

if TYPE_CHECKING:
    from torch import Tensor


class ReshapeAndCache(Operator):
    """key_cache[slot // page_size, slot % page_size] = key[token] for the slot of each token, and the same for value.

    key, value [tokens, heads, head_dim]; key_cache, value_cache [pages, page_size, heads, head_dim], which are also the
    outputs: what has no new token stays as it is; slot_mapping int64 [tokens], all distinct.
    """

    tokens: Dim
    heads: Dim
    head_dim: Dim
    page_size: Dim = 16
    dtype: FloatDtype = "bf16"

    category = "copy"
    fuzz = {"heads": (1, 16), "page_size": [16, 32, 64, 1]}

    @property
    def pages(self) -> int:
        """Pages of the cache: twice those that the tokens would fill, so that half of the slots must stay as they are."""
        return 2 * -(-self.tokens // self.page_size)

    def work(self) -> Work:
        """Read key, value and slots, write key and value; the rest of the cache is not touched."""
        tensor = nbytes(self.dtype, self.tokens * self.heads * self.head_dim)
        return Work(read=2 * tensor + nbytes("int64", self.tokens), written=2 * tensor)

    def inputs(self, new: New) -> Inputs:
        tokens = (self.tokens, self.heads, self.head_dim)
        cache = (self.pages, self.page_size, self.heads, self.head_dim)
        return {
            "key": new.normal(tokens, self.dtype),
            "value": new.normal(tokens, self.dtype),
            "key_cache": new.normal(cache, self.dtype),
            "value_cache": new.normal(cache, self.dtype),
            "slot_mapping": new.permutation(self.tokens, "int64", of=self.pages * self.page_size),
        }

    def outputs(self) -> dict[str, Spec]:
        cache = Spec(shape=(self.pages, self.page_size, self.heads, self.head_dim), dtype=self.dtype)
        return {"key_cache": cache, "value_cache": cache}

    def reference(
        self, key: "Tensor", value: "Tensor", key_cache: "Tensor", value_cache: "Tensor", slot_mapping: "Tensor"
    ) -> tuple["Tensor", "Tensor"]:
        """Copies of the caches with the tokens in their slots: nothing is computed, so nothing is rounded."""
        key_cache, value_cache = key_cache.clone(), value_cache.clone()
        for new, cache in ((key, key_cache), (value, value_cache)):
            cache.flatten(0, 1)[slot_mapping] = new
        return key_cache, value_cache
