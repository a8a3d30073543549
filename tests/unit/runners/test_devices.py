"""What of the machine workers may use, under the limits of control groups."""

import pytest

from pluggably.runners.devices import usable_cores


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_a_quota_bounds_the_cores(tmp_path, files, cores):
    """A quota of either version of control groups is rounded up to whole cores."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize("text", ["max 100000", "nonsense", "", "-1 100000", "9900000 100000"])
def test_no_quota_leaves_the_machine_s(tmp_path, text):
    """Where there is no quota, none that can be read, or a larger one, the machine's own cores count."""
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path) == usable_cores(tmp_path / "none") >= 1
