"""How backends are spoken to: codecs translate, framing cuts bytes, transport does the I/O."""
