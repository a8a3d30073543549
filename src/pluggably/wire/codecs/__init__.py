"""One package a wire. Each codec is registered as an entry point of the group `pluggably.codecs`, as a stranger's is.

The files have the same names in all of them: `codec` (one attempt, from its call to its last event), `request` (our
parameters and tools as bodies), `messages` (the conversation; Gemini says `contents`, Responses `input`), `reply` (the
types of what comes back), `faults` (what its errors mean), `options` (how vendors, servers and models differ, as data)
and `schema` (a JSON Schema cut to what the vendor takes). Where one would be
small it is part of its neighbour, where it would be long a part has a name of its own (Bedrock's `parameters` and
`media`), and a wire that needs one file alone is that file.

What all wires share stands in `wire`, beside this folder. What surprises: OpenAI's form is spoken by others, too, so
some import it from `openai`; which, and what for, is listed in `.importlinter`, at the contract `wires`.
"""
