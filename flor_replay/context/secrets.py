"""What must not enter the store: values of secret variables, credentials in addresses, arguments that look like secrets.

Of the environment only variables that are asked for by name are kept. Texts that are kept besides (recipes, command lines,
addresses) may hold what the rest of the environment holds: it is taken out of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_SECRET_NAME = re.compile(
    r"SECRET|TOKEN(?![A-Z])|PASS(WORD|WD|PHRASE)?(?!ED|ES|ING|IVE|THROUGH|PORT)|PWD_|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE|_KEY$|^KEY$"
    r"|AUTH(?!OR)|COOKIE|SIGNATURE|DSN$|CONN(ECTION)?_STR|DATABASE_URL",
    re.IGNORECASE,
)
_WORD = r"(?:secret|token|password|passwd|passphrase|pwd|credentials?|api[-_]?key|access[-_]?key|private[-_]?key|auth|bearer)(?![a-z])"
# --token abc, --api-key=abc, WANDB_API_KEY=abc, password=abc
_ASSIGNED = re.compile(rf"((?:^|[\s'\"])-{{0,2}}[\w.-]*{_WORD}[\w-]*(?:=|\s*:\s*))('[^']*'|\"[^\"]*\"|[^\s'\"]+)", re.I)
_FLAG = re.compile(rf"((?:^|[\s'\"])--?[\w-]*{_WORD}[\w-]*['\"]?\s+)('[^']*'|\"[^\"]*\"|[^\s'\"-][^\s'\"]*)", re.I)
_BEARER = re.compile(r"(\b(?:bearer|basic)\s+)([A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)
# Keys that their issuers gave a form of their own.
_KNOWN_FORMS = re.compile(
    r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|sk-[\w-]{16,}"
    r"|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+)"
)
_ADDRESS = re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.-]*://)([^\s/@'\"]+@)")
_QUERY = re.compile(rf"([?&][\w.-]*(?:{_WORD}|sig(?:nature)?|key)[\w.-]*=)([^&\s'\"#]+)", re.IGNORECASE)
_SHORTEST = 5  # characters: a shorter value is also an ordinary word


def names_a_secret(name: str) -> bool:
    """Whether what is called so is not to be kept."""
    return bool(_SECRET_NAME.search(name))


def address(text: str) -> str:
    """A URL without user, password and secret parameters."""
    return _QUERY.sub(rf"\1{HIDDEN}", _ADDRESS.sub(r"\1", text))


class Scrubber:
    """Takes the secrets of one environment out of texts."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        found = {value for name, value in environ.items() if _SECRET_NAME.search(name) and len(value) >= _SHORTEST}
        self._values = sorted(found, key=len, reverse=True)

    def text(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, HIDDEN)
        text = _BEARER.sub(rf"\1{HIDDEN}", address(text))
        text = _ASSIGNED.sub(rf"\1{HIDDEN}", text)
        text = _FLAG.sub(rf"\1{HIDDEN}", text)
        return _KNOWN_FORMS.sub(HIDDEN, text)

    def all(self, data: Any) -> Any:
        """The same data with every text scrubbed."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, Mapping):
            return {key: self.all(value) for key, value in data.items()}
        if isinstance(data, (list, tuple)):
            return [self.all(value) for value in data]
        return data
