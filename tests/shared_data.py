"""Where the larger test data lie, beside the repository; tests that need them are skipped without."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the data are not there: {DATA.name} beside the repository")
