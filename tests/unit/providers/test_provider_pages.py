"""Every preset has a page for operators, and the pages say what the rows say.

The table of facts in a page is made from its row (`make check` holds it to that); here is the rest of a page's form.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pluggably.config import Flags, load_settings
from pluggably.config.vocabulary import Vocabulary
from pluggably.plugins import CODECS, RUNNERS, Plugins
from pluggably.providers.presets import PRESETS

FOLDER = Path(__file__).parents[3] / "docs" / "providers"
SECTIONS = ["Try it", "What differs", "Cost and limits"]


def test_every_preset_has_a_page_and_every_page_a_preset() -> None:
    """The index is the only other page."""
    assert {path.stem for path in FOLDER.glob("*.md")} == {*PRESETS, "index"}


def test_the_index_leads_to_every_page() -> None:
    """A provider is found by its title, its name and its variable."""
    text = (FOLDER / "index.md").read_text("utf-8")
    for name, preset in PRESETS.items():
        assert f"[{preset.title}]({name}.md) | `{name}` |" in text
        assert preset.key_env is None or f"`{preset.key_env}`" in text


@pytest.mark.parametrize("name", PRESETS)
def test_a_page_has_what_an_operator_looks_for(name: str) -> None:
    """How the key is given, a request to paste, what differs, what it costs, and where the vendor says all that."""
    preset, text = PRESETS[name], (FOLDER / f"{name}.md").read_text("utf-8")
    assert text.startswith(f"# {preset.title}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert f'"model": "{name}/' in text.partition("## Try it")[2].partition("##")[0]
    assert f"<{preset.docs}>, read on {preset.checked}" in text
    if preset.needs_key:
        assert f"export {preset.key_env}=" in text
        assert re.search(r"<https://\S+>", text.partition("## Try it")[2]), "where to make a key"
    for gap, variable in preset.variables.items():
        assert f"variable `{gap}`" in text
        assert variable.default is not None or f"{gap}:" in text or f"export {variable.env}=" in text


@pytest.mark.parametrize("name", PRESETS)
def test_every_config_of_a_page_is_right_when_pasted(name: str, tmp_path: Path) -> None:
    """With the variables and the files of secrets that the page names."""
    text = (FOLDER / f"{name}.md").read_text("utf-8")
    variables = set(re.findall(r"export (\w+)=", text)) | set(re.findall(r"\$\{(\w+)\}", text))
    (tmp_path / "secret").write_text("a-secret-of-the-operator")
    (tmp_path / "secret").chmod(0o600)
    vocabulary = Vocabulary(presets=PRESETS, codecs=Plugins(CODECS), runners=Plugins(RUNNERS))
    for config in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        file = tmp_path / "pluggably.yaml"
        file.write_text(re.sub(r"file:/run/secrets/\S+?(?=[\"\]}])", f"file:{tmp_path}/secret", config))
        settings = load_settings(
            Flags(config=file),
            vocabulary=vocabulary,
            environment={**dict.fromkeys(variables, "us-east-1"), "HOME": str(tmp_path)},
            folder=tmp_path,
        )
        assert any(key.startswith(name) or entry.preset == name for key, entry in settings.providers.items())
