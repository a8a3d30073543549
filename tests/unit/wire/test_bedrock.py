"""Details of Bedrock's wire that a conversation does not show."""

from __future__ import annotations

from pluggably.domain.generation import File
from pluggably.wire.codecs.bedrock.media import Media
from tests.work import lines_run


def test_many_files_of_one_name_take_little_work_each() -> None:
    """Each gets a name of its own, from where the last one ended."""
    blocks = Media("b", ["file"])
    part = File(data="JVBERi0x", media_type="application/pdf", name="a.pdf")
    assert lines_run(lambda: [blocks.document(part, "") for _ in range(1000)]) < 1000 * 40
    names = [blocks.document(part, "")["document"]["name"] for _ in range(2)]
    assert names == ["a 1001", "a 1002"]
