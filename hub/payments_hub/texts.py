"""Sentences for the vendor's operators: English in the code, Italian in ``po/it.po`` beside this file.

`_` is the payment rules' own (`stripe_payments.i18n`); this module makes its texts find the hub's catalog,
too. The package ships ``po/it.mo``, which `tools/msgfmt.py` compiles.
"""

from __future__ import annotations

from typing import Final

from stripe_payments.i18n import Text, _, add_catalog, language

__all__ = ["CATALOG", "Text", "_", "language"]

CATALOG: Final = f"{__file__.rpartition('/')[0]}/po/it.mo"

add_catalog(CATALOG)
