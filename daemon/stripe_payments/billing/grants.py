"""Features that an administrator unlocks manually: a gift, a review unit, a complaint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from stripe_payments.entitlements import ManualGrant
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.log import Log
from stripe_payments.rfc3339 import format_time, parse_time
from stripe_payments.settings import Settings

if TYPE_CHECKING:
    from stripe_payments.clock import TrustedClock
    from stripe_payments.ledger import Ledger, Transaction
    from stripe_payments.sync.reconciler import Reconciler

_log = Log("grants")

LONGEST_NOTE: Final = 200

_NO_TIME: Final = _("it must be a UTC time such as 2027-01-31T00:00:00Z")
_PAST: Final = _("it is in the past")
_LONG: Final = _("it must be at most {longest_note} characters", longest_note=LONGEST_NOTE)


class GrantService:
    """Grants are stored in the ledger; a new one restores them from UCI, where their source is `manual`."""

    def __init__(
        self,
        ledger: Ledger,
        reconciler: Reconciler,
        settings: Callable[[], Settings],
        clock: TrustedClock,
    ) -> None:
        self._ledger = ledger
        self._reconciler = reconciler
        self._settings = settings
        self._clock = clock

    async def grant(self, feature: str, until: str | None = None, note: str | None = None) -> dict[str, Any]:
        """Unlock a feature, without an end or `until` (RFC 3339, UTC), and return the grant {feature, until,
        note, granted_at}. It replaces an earlier grant. Raises unknown_feature, invalid_argument.
        """
        end = parse_time(until) if until else None
        now = self._clock.now()
        if until and end is None:
            raise PaymentError("invalid_argument", argument="until", reason=_NO_TIME)
        if end is not None and now is not None and end <= now:
            raise PaymentError("invalid_argument", argument="until", reason=_PAST)
        if note and len(note) > LONGEST_NOTE:
            raise PaymentError("invalid_argument", argument="note", reason=_LONG)
        grant = ManualGrant(feature, end, note or "", now)
        known = feature in self._settings().features

        def put(tx: Transaction) -> None:
            if not known and tx.features.get(feature) is None:
                raise PaymentError("unknown_feature", feature=feature)
            tx.grants.put(grant)

        await self._ledger.write(put)
        _log.info("granted", feature=feature, until=until, note=note)
        await self._reconciler.recompute()
        return _shown(grant)

    async def revoke(self, feature: str) -> dict[str, Any]:
        """Revoke a grant and return {feature, revoked}; revoked is false if there was none. The feature stays
        unlocked if a purchase unlocks it. Raises unknown_feature.
        """
        known = feature in self._settings().features

        def delete(tx: Transaction) -> bool:
            if not known and tx.features.get(feature) is None:
                raise PaymentError("unknown_feature", feature=feature)
            return tx.grants.delete(feature)

        revoked = await self._ledger.write(delete)
        if revoked:
            _log.info("grant revoked", feature=feature)
            await self._reconciler.recompute()
        return {"feature": feature, "revoked": revoked}

    async def list(self) -> list[dict[str, Any]]:
        """All grants by feature, including those that have ended."""
        return [_shown(grant) for grant in await self._ledger.read(lambda tx: tx.grants.all())]


def _shown(grant: ManualGrant) -> dict[str, Any]:
    return {
        "feature": grant.feature,
        "until": format_time(grant.until) if grant.until is not None else None,
        "note": grant.note,
        "granted_at": format_time(grant.granted_at) if grant.granted_at is not None else None,
    }
