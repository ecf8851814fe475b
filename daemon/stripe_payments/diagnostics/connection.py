"""The way to Stripe, step by step: name, connection, certificate authorities, TLS, Stripe's answer, the
time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from pathlib import Path
from typing import Final

from stripe_payments.diagnostics.finding import NO_KEY, Finding, fault, fine, note, of_error, warning
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.rfc3339 import format_time

SKEW_S: Final = 300
"""As much as a webhook's signature may be old."""

_CLOCK_HINT: Final = _(
    "Set the router's time: System > System > “Sync with NTP server” in LuCI, or: service sysntpd restart"
)
_BEFORE: Final = note(
    _("Not checked: an earlier step on the way to Stripe fails."),
)


async def dns(probes: Probes) -> Finding:
    host = probes.host
    try:
        addresses = await probes.addresses()
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            return fault(
                _("No DNS server answers the question for “{host}”.", host=host),
                _(
                    "Check that the WAN is up and which DNS servers it uses (Network > Interfaces, Network > "
                    "DHCP and DNS); try: nslookup {host}",
                    host=host,
                ),
            )
        return fault(
            _("The name “{host}” does not exist for the DNS servers in use.", host=host),
            _(
                "A filter in the DNS server or an ad blocker may hold it back: allow it, or use another "
                "server; try: nslookup {host}",
                host=host,
            ),
        )
    shown = ", ".join(str(address[0]) for address in addresses[:3])
    return fine(_("“{host}” is {shown}.", host=host, shown=shown))


async def connection(probes: Probes) -> Finding:
    where = f"{probes.host}:{probes.port}"
    try:
        await probes.addresses()
    except OSError:
        return _BEFORE
    firewall = _(
        "Outgoing connections to port {port} must be allowed in the firewall, and by the provider.",
        port=probes.port,
    )
    try:
        address = await probes.connected()
    except ConnectionRefusedError:
        return fault(_("{where} refuses the connection.", where=where), firewall)
    except TimeoutError:
        return fault(_("{where} does not answer.", where=where), firewall)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
            return fault(
                _("There is no way to {where} ({reason}).", where=where, reason=reason),
                _("Check the WAN connection: Network > Interfaces in LuCI."),
            )
        return fault(
            _("The connection to {where} fails ({reason}).", where=where, reason=reason),
            firewall,
        )
    return fine(_("{where} answers at {address}.", where=where, address=address))


async def ca_bundle(probes: Probes) -> Finding:
    path = Path(await probes.stripe.ca_bundle())
    reinstall = _(
        "Install it again from its file: opkg install --force-reinstall FILE (OpenWrt 24.10). With apk: apk "
        "fix python3-stripe; if that says 'skipped', apk del -r python3-stripe and apk add --allow-untrusted "
        "with the files of all packages. Keys and purchases stay."
    )

    def count() -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=path)
        return context.cert_store_stats()["x509_ca"]

    try:
        authorities = await probes.off_the_loop(count)
    except FileNotFoundError:
        return fault(
            _("The file of certificate authorities, {path}, is missing.", path=path),
            reinstall,
        )
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or type(error).__name__
        return fault(
            _(
                "The file of certificate authorities, {path}, cannot be read ({reason}).",
                path=path,
                reason=reason,
            ),
            reinstall,
        )
    if authorities == 0:
        return fault(
            _("The file of certificate authorities, {path}, has none in it.", path=path),
            reinstall,
        )
    return fine(
        _("{authorities} certificate authorities are known.", authorities=authorities),
    )


async def tls(probes: Probes) -> Finding:
    if not probes.encrypted:
        return note(
            _("No encryption: Stripe is simulated on this machine."),
        )
    try:
        await probes.connected()
    except OSError:
        return _BEFORE
    try:
        made = await probes.handshake()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
            return fault(
                _(
                    "For the router's clock the certificate of “{host}” is not valid ({verify_message}).",
                    host=probes.host,
                    verify_message=error.verify_message,
                ),
                _CLOCK_HINT,
            )
        return fault(
            _(
                "The certificate of “{host}” cannot be trusted ({verify_message}).",
                host=probes.host,
                verify_message=error.verify_message,
            ),
            _(
                "Somebody between the router and Stripe answers in its place: a hotel's login page, a "
                "filter, an antivirus proxy. Exempt the router from it. Verification is never switched off."
            ),
        )
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", "") or type(error).__name__)
        return fault(
            _("No encrypted connection to “{host}” comes about ({reason}).", host=probes.host, reason=reason),
            _(
                "Something between the router and Stripe does not speak TLS: a firewall, a proxy, a login "
                "page."
            ),
        )
    return fine(
        _(
            "{version}; the certificate is valid until {valid_until}.",
            version=made.version,
            valid_until=made.valid_until,
        ),
    )


async def stripe(probes: Probes) -> Finding:
    if not probes.situation.keys.current().secret_key:
        return NO_KEY
    answers = fine(_("Stripe answers."))
    try:
        await probes.answer()
    except PaymentError as error:
        if error.code == "stripe_unreachable":
            reason = str(error.details.get("reason"))
            return fault(
                _("Stripe cannot be reached ({reason}).", reason=reason),
                _("The checks “dns”, “connection” and “tls” tell where the way ends."),
            )
        if error.code == "rate_limited":
            return warning(
                _("Stripe asks for fewer requests."),
                _(
                    "Nothing to do unless it stays so: then something else uses the same Stripe account "
                    "heavily."
                ),
            )
        if error.details.get("transient"):
            status = error.details.get("http_status")
            return fault(
                _("Stripe answers with an error of its own (HTTP {status}).", status=status),
                _("Nothing to do here; see https://status.stripe.com. What is unlocked stays unlocked."),
            )
        if error.code not in ("stripe_key_invalid", "stripe_key_permission"):
            return of_error(error)
    return answers


async def clock(probes: Probes) -> Finding:
    with contextlib.suppress(PaymentError):
        await probes.answer()  # its Date header tells the time
    trusted = probes.clock.now()
    if trusted is None:
        return note(
            _(
                "The exact time is not known yet: Stripe has not been heard since the start. Nothing is "
                "locked for age meanwhile."
            ),
        )
    skew = int(probes.situation.wall_clock()) - trusted
    if abs(skew) > SKEW_S:
        here = format_time(max(0, trusted + skew))
        return warning(
            _(
                "The router's clock says {here}, Stripe's {value}. Payments use Stripe's.",
                here=here,
                value=format_time(trusted),
            ),
            _CLOCK_HINT,
        )
    return fine(
        _("The router's clock and Stripe's agree ({value}).", value=format_time(trusted)),
    )
