"""``import flordb as flor``: scripts that were written for FlorDB find flor-replay under that name too.

The module is `flor` itself. Where FlorDB is installed in the same environment this file is its own: do not install both.
"""

import sys

import flor

sys.modules[__name__] = flor
