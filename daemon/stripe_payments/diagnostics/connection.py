"""Checks of the connection to Stripe, step by step: DNS, TCP, CA certificates, TLS, HTTP and the clock."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stripe_payments.diagnostics.finding import NO_KEY, Finding, from_error
from stripe_payments.diagnostics.probes import Probes
from stripe_payments.errors import PaymentError
from stripe_payments.i18n import _
from stripe_payments.rfc3339 import format_time

if TYPE_CHECKING:
    from stripe_payments.diagnostics.stripe_probes import StripeProbes

SKEW_S: Final = 300
"""Seconds; the tolerance of webhook signatures."""

CLOCK_HINT: Final = _("Set the router's time under System > System, or run: service sysntpd restart")
_EARLIER_STEP_FAILED: Final = Finding(
    "info",
    _("Not checked: an earlier step of the connection failed."),
)


async def dns(probes: Probes) -> Finding:
    host = probes.host
    try:
        addresses = await probes.addresses()
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            return Finding(
                "error",
                _("No DNS server answers queries for “{host}”.", host=host),
                _(
                    "Check that the WAN is up and its DNS servers (Network > Interfaces, Network > DHCP and "
                    "DNS), or run: nslookup {host}",
                    host=host,
                ),
            )
        return Finding(
            "error",
            _("The DNS servers do not resolve “{host}”.", host=host),
            _(
                "A DNS filter or ad blocker may block it: allow it, or use another DNS server; test with: "
                "nslookup {host}",
                host=host,
            ),
        )
    shown = ", ".join(str(address[0]) for address in addresses[:3])
    return Finding("ok", _("“{host}” resolves to {shown}.", host=host, shown=shown))


async def connection(probes: Probes) -> Finding:
    where = f"{probes.host}:{probes.port}"
    try:
        await probes.addresses()
    except OSError:
        return _EARLIER_STEP_FAILED
    firewall = _(
        "Allow outgoing connections to port {port} in the firewall; the provider may also block them.",
        port=probes.port,
    )
    try:
        address = await probes.connected()
    except ConnectionRefusedError:
        return Finding("error", _("{where} refuses the connection.", where=where), firewall)
    except TimeoutError:
        return Finding("error", _("{where} does not answer.", where=where), firewall)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
            return Finding(
                "error",
                _("No route to {where} ({reason}).", where=where, reason=reason),
                _("Check the WAN connection under Network > Interfaces."),
            )
        return Finding(
            "error",
            _("The connection to {where} failed ({reason}).", where=where, reason=reason),
            firewall,
        )
    return Finding("ok", _("{where} answers at {address}.", where=where, address=address))


async def ca_bundle(probes: StripeProbes) -> Finding:
    path = Path(await probes.ca_bundle())
    reinstall = _(
        "Reinstall python3-stripe from its file: opkg install --force-reinstall FILE (OpenWrt 24.10). With "
        "apk: apk fix python3-stripe; if that says 'skipped', apk del -r python3-stripe and apk add "
        "--allow-untrusted with the files of all packages. Keys and purchases are kept."
    )

    def count() -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=path)
        return context.cert_store_stats()["x509_ca"]

    try:
        authorities = await probes.in_thread(count)
    except FileNotFoundError:
        return Finding(
            "error",
            _("The CA certificate file {path} is missing.", path=path),
            reinstall,
        )
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or type(error).__name__
        return Finding(
            "error",
            _(
                "The CA certificate file {path} cannot be read ({reason}).",
                path=path,
                reason=reason,
            ),
            reinstall,
        )
    if authorities == 0:
        return Finding(
            "error",
            _("The CA certificate file {path} contains no certificates.", path=path),
            reinstall,
        )
    return Finding("ok", _("{authorities} CA certificates loaded.", authorities=authorities))


async def tls(probes: Probes) -> Finding:
    if not probes.encrypted:
        if probes.situation.settings.hub is not None:
            return Finding("info", _("No encryption: the hub is on this machine."))
        return Finding("info", _("No encryption: Stripe is simulated on this machine."))
    try:
        await probes.connected()
    except OSError:
        return _EARLIER_STEP_FAILED
    try:
        handshake = await probes.handshake()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
            return Finding(
                "error",
                _(
                    "By the router's clock, the certificate of “{host}” is not valid ({verify_message}).",
                    host=probes.host,
                    verify_message=error.verify_message,
                ),
                CLOCK_HINT,
            )
        return Finding(
            "error",
            _(
                "The certificate of “{host}” is not trusted ({verify_message}).",
                host=probes.host,
                verify_message=error.verify_message,
            ),
            _(
                "A captive portal, filter or antivirus proxy intercepts the connection. Exempt the router "
                "from it; certificate verification cannot be disabled."
            ),
        )
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", "") or type(error).__name__)
        return Finding(
            "error",
            _("The TLS handshake with “{host}” failed ({reason}).", host=probes.host, reason=reason),
            _("A firewall, proxy or captive portal interferes with TLS."),
        )
    return Finding(
        "ok",
        _(
            "{version}; the certificate is valid until {valid_until}.",
            version=handshake.version,
            valid_until=handshake.valid_until,
        ),
    )


# `stripe_api.connection_failure` has the reasons.
_FAILURES: Final = {
    "dns": _("DNS lookup failed"),
    "tls": _("no trusted TLS connection"),
    "clock": _("the router's clock is wrong"),
    "timeout": _("no answer in time"),
    "refused": _("connection refused"),
    "network": _("no network connection"),
}


async def stripe(probes: StripeProbes) -> Finding:
    if not probes.situation.keys.current().secret_key:
        return NO_KEY
    try:
        await probes.any_request()
    except PaymentError as error:
        if error.code == "stripe_unreachable":
            reason = str(error.details.get("reason"))
            return Finding(
                "error",
                _("Stripe cannot be reached ({reason}).", reason=_FAILURES.get(reason, reason)),
                _("Name resolution, Connection and Encryption show which step fails."),
            )
        if error.code == "rate_limited":
            return Finding(
                "warning",
                _("Stripe is rate limiting requests."),
                _("Nothing to do. If it persists, something else uses the same Stripe account heavily."),
            )
        if error.details.get("transient"):
            status = error.details.get("http_status")
            return Finding(
                "error",
                _("Stripe has a problem (HTTP {status}).", status=status),
                _("Nothing to do; see https://status.stripe.com. Features stay unlocked."),
            )
        if error.code not in ("stripe_key_invalid", "stripe_key_permission"):
            return from_error(error)
        return Finding("ok", _("Stripe can be reached."))
    if probes.situation.lacks_search:
        return Finding(
            "info",
            _("Stripe can be reached. It does not offer its Search API to this account."),
            _(
                "Nothing to do: a lost customer of this router is looked up among the newest 100 of the "
                "account. Back up /etc/stripe-payments, which names it."
            ),
        )
    return Finding("ok", _("Stripe can be reached."))


async def clock(probes: StripeProbes) -> Finding:
    with contextlib.suppress(PaymentError):
        await probes.any_request()  # sets the clock from the Date header
    trusted = probes.clock.now()
    if trusted is None:
        return Finding(
            "info",
            _(
                "No trusted time yet: no response from Stripe since the start. Nothing expires in the "
                "meantime."
            ),
        )
    skew = int(probes.situation.wall_clock()) - trusted
    if abs(skew) > SKEW_S:
        here = format_time(max(0, trusted + skew))
        return Finding(
            "warning",
            _(
                "The router's clock is {here}, Stripe's is {value}. Payments use Stripe's.",
                here=here,
                value=format_time(trusted),
            ),
            CLOCK_HINT,
        )
    return Finding("ok", _("The router's clock and Stripe's agree ({value}).", value=format_time(trusted)))
