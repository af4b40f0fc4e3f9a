from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gencli import home as homes
from gencli.data import catalogue
from gencli.data.glyphs import CLASSES, SPLITS
from gencli.data.sources import FILES
from gencli.errors import UsageError


def test_every_data_set_has_a_source() -> None:
    assert set(catalogue.names()) == {"glyphs", "scenes", *FILES}
    assert len(catalogue.names()) == len(set(catalogue.names()))


def test_glyphs_row_is_what_is_drawn() -> None:
    spec = catalogue.find("glyphs")
    assert spec.classes == CLASSES
    assert (spec.n_train, spec.n_test) == (SPLITS["train"][0], SPLITS["test"][0])


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="mnits") as caught:
        catalogue.find("mnits")
    assert caught.value.cure == "Did you mean mnist?"
    with pytest.raises(UsageError) as caught:
        catalogue.find("qqqqqq")
    assert "gencli list datasets" in caught.value.cure


def test_table_and_directories_need_no_torch() -> None:
    program = (
        "import sys, gencli.data.catalogue, gencli.home\n"
        "gencli.home.cache_dir()\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0)


def test_gencli_home_moves_everything(home: Path) -> None:
    assert homes.data_dir() == home
    assert homes.runs_dir() == home / "runs"
    assert homes.cache_dir() == home / "cache"
    assert not home.exists()


def test_without_gencli_home_the_platform_decides(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import platformdirs

    monkeypatch.delenv("GENCLI_HOME")
    assert homes.runs_dir() == Path(platformdirs.user_data_dir("gencli", False)) / "runs"
    assert homes.cache_dir() == Path(platformdirs.user_cache_dir("gencli", False))


def test_home_is_absolute_and_knows_the_tilde(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENCLI_HOME", "here")
    assert homes.data_dir() == tmp_path.resolve() / "here"
    monkeypatch.setenv("GENCLI_HOME", "~/there")
    assert homes.data_dir() == Path.home().resolve() / "there"


def test_sets_that_are_drawn_have_captions() -> None:
    captioned = {spec.name for spec in catalogue.DATASETS if spec.captions}
    assert captioned == set(catalogue.names()) - set(FILES)
