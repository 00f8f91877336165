"""What the documents beside the README show runs."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.slow
@pytest.mark.essential
def test_the_examples_of_minimising_movements_run(capsys):
    text = (DOCS / "minimising_movements.md").read_text(encoding="utf-8")
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, scope)
    spread, *distances = map(float, capsys.readouterr().out.split())
    assert spread == pytest.approx(0.0125, abs=5e-5)
    assert max(distances) < 0.1
    assert scope["pde"].status == "complete"
