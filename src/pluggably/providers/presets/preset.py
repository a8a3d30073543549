"""What a preset is: the form of the rows beside this file."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

# What signs calls where no key of the vendor's own is given.
Signing: TypeAlias = Literal["aws", "google"]


class Variable(Struct, frozen=True, kw_only=True):
    """A gap in a base URL, `{name}`: what fills it, and the environment variable in which the vendor's own tools look
    for it. Without a default it must be given."""

    means: str
    env: str | None = None
    default: str | None = None


class CodecRule(Struct, frozen=True, kw_only=True):
    """Models that the vendor serves by another wire. `models` is a regular expression, matched from the start of the
    vendor's model id; the first rule that matches counts."""

    models: str
    codec: str
    options: dict[str, Any] = {}
    # As of the preset, and in addition to it.
    always_streams: bool = False


class ModelList(Struct, frozen=True, kw_only=True):
    """Where a vendor lists its models, and in which form.

    `path` follows the base URL, or is a whole URL (with the preset's gaps). `form` names the reader in
    `providers.list_forms`; `openai` takes `{"data": [{"id": …}]}` and whatever well-known fields stand beside the id.
    `also` are further lists of the same account, whose models join those of this one."""

    path: str = "/models"
    form: str = "openai"
    # The server that lists, where it is another one than the base URL's (with the preset's gaps). At an address of an
    # operator's own it is asked there: one server then stands for all of the vendor's.
    server: str = ""
    also: tuple[ModelList, ...] = ()

    def all(self) -> tuple[ModelList, ...]:
        """This list, and the further ones."""
        return (self, *self.also)


class Preset(Struct, frozen=True, kw_only=True):
    """A vendor. `base_url` is everything before the operation's own path, with a gap for each of `variables` and, where
    the model stands in the address, `{model}`; `key_env` is the environment variable in which the vendor's own tools
    look for the key; `options` are those of the codec, and an operator's stand over them; `docs` is where the rest of a
    quirk can be read, `checked` the day on which it was."""

    base_url: str
    docs: str
    checked: str
    title: str
    codec: str = "openai"
    codec_rules: tuple[CodecRule, ...] = ()
    variables: dict[str, Variable] = {}
    # What an operator may have put behind the address, because another wire of the same server has it there; it is
    # taken off.
    not_behind: str = ""
    key_env: str | None = None
    needs_key: bool = True
    # Its variable is set on many machines for something else, so the key alone is no wish: an entry must be there.
    needs_entry: bool = False
    # The header that takes the key as it is; None: `Authorization: Bearer`.
    key_header: str | None = None
    # Without a key, calls are signed with the keys of an AWS account (for its service `signing_service`, in the region
    # of the variable `region`), or bear a token of a Google account.
    signing: Signing | None = None
    signing_service: str = "bedrock"
    # With gaps, as in the base URL.
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    options: dict[str, Any] = {}
    # These notice that nobody listens any more only while they stream, so they are always asked for a stream.
    always_streams: bool = False
    # None: there is no list to read.
    models: ModelList | None = ModelList()
    # Whether accounts have an allowance that costs nothing; what it covers stands in the provider's page. It makes
    # no model `free` by itself: an account with a bill has none of it.
    free_tier: bool = False
    # A regular expression over the vendor's model ids of those that never cost anything, such as `:free$`; searched.
    free_models: str | None = None
    # The vendor's id in the price list of genai-prices; None: its prices are not known there.
    price_list: str | None = None
