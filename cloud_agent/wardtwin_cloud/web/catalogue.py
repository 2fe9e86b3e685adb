"""Strings by key, one file per language. Python formats them here, the islands with the same rule in js/strings.js."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

DEFAULT_LANGUAGE = "en"


class Catalogue:
    """`text("state.since", time="14:02")`. An unknown key is an error: a page must not show half a sentence."""

    def __init__(self, language: str, strings: Mapping[str, str]) -> None:
        self.language = language
        self.strings = strings

    def text(self, key: str, **values: object) -> str:
        return self.strings[key].format(**values)

    def word(self, family: str, word: str) -> str:
        """The name of `word` in `family` (a device type, a rule); a word the catalogue lacks is shown as it is, readable."""
        known = self.strings.get(f"{family}.{word}")
        return known if known is not None else word.replace("_", " ").strip().capitalize()


@cache
def catalogue(language: str = DEFAULT_LANGUAGE) -> Catalogue:
    raw = (files("wardtwin_cloud.web") / "strings" / f"{language}.json").read_text("utf-8")
    return Catalogue(language, json.loads(raw))
