import subprocess

import pytest

from attnmask.errors import InputError
from attnmask.recipes.data import cached, debian

ENGLISH = """\
Package: anvil
Description-md5: 01
Description-en: tool to forge
 The anvil is a tool
 to forge.
  * hot
  * cold
 .
 It is heavy.

Package: bell
Description-md5: 02
Description-en: rings

Package: cup
Description-md5: 03
Description-en: holds water
 One.
 .
 Two.
"""
ITALIAN = """\
Package: anvil
Description-md5: 01
Description-it: attrezzo per forgiare
 L'incudine è un attrezzo per forgiare.
 .
 È pesante.

Package: bell
Description-md5: 02
Description-it: rings

Package: cup
Description-md5: 03
Description-it: contiene acqua
 Uno e due.
"""


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def update(folder, language):
        lists = folder / "state/lists"
        lists.mkdir(parents=True)
        for side, text in (("en", ENGLISH), ("it", ITALIAN)):
            (lists / f"host_dists_stable_main_i18n_Translation-{side}").write_text(text, encoding="utf-8")

    monkeypatch.setattr(debian, "_update", update)
    return tmp_path


def test_pairs_are_joined_text_by_text(archive):
    assert debian.pairs("it") == [
        ("tool to forge", "attrezzo per forgiare"),
        ("The anvil is a tool to forge.", "L'incudine è un attrezzo per forgiare."),
        ("It is heavy.", "È pesante."),
        ("holds water", "contiene acqua"),
    ]


def test_a_language_that_is_not_there(archive):
    with pytest.raises(InputError, match="Debian translates descriptions into some languages; got 'xx'"):
        debian.descriptions("it", "xx")


def test_what_was_fetched_is_known_by_its_checksum(archive):
    debian.pairs("it")
    folder = archive / "attnmask" / "debian-it"
    assert (folder / cached.RECORD).exists()
    next(folder.glob("*-it")).write_text("Package: other\n")
    with pytest.raises(InputError, match=r"cached data is what was fetched; got .*-it.* changed"):
        debian.pairs("it")


def test_a_fetch_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fail(arguments, **options):
        raise subprocess.CalledProcessError(100, arguments, stderr="E: no network\n")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(InputError, match="got E: no network"):
        debian.pairs("it")
    assert list((tmp_path / "attnmask").iterdir()) == []


def test_a_machine_without_apt(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="Run it on Debian with network"):
        debian.pairs("it")
