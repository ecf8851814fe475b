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
from stripe_payments.i18n import Text
from stripe_payments.rfc3339 import format_time

SKEW_S: Final = 300
"""As much as a webhook's signature may be old."""

_CLOCK_HINT: Final = Text(
    "Set the router's time: System > System > “Sync with NTP server” in LuCI, or: service sysntpd restart",
    "Imposta l'ora del router: Sistema > Sistema > “Sincronizza con server NTP” in LuCI, oppure: service "
    "sysntpd restart",
)
_BEFORE: Final = note(
    "Not checked: an earlier step on the way to Stripe fails.",
    "Non controllato: fallisce un passaggio precedente verso Stripe.",
)


async def dns(probes: Probes) -> Finding:
    host = probes.host
    try:
        addresses = await probes.addresses()
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            return fault(
                f"No DNS server answers the question for “{host}”.",
                f"Nessun server DNS risponde alla richiesta di “{host}”.",
                Text(
                    "Check that the WAN is up and which DNS servers it uses (Network > Interfaces, Network > "
                    f"DHCP and DNS); try: nslookup {host}",
                    "Controlla che la WAN sia attiva e quali server DNS usa (Rete > Interfacce, Rete > DHCP "
                    f"e DNS); prova: nslookup {host}",
                ),
            )
        return fault(
            f"The name “{host}” does not exist for the DNS servers in use.",
            f"Il nome “{host}” non esiste per i server DNS in uso.",
            Text(
                "A filter in the DNS server or an ad blocker may hold it back: allow it, or use another "
                f"server; try: nslookup {host}",
                "Forse lo blocca un filtro nel server DNS o un ad blocker: consentilo, oppure usa un altro "
                f"server; prova: nslookup {host}",
            ),
        )
    shown = ", ".join(str(address[0]) for address in addresses[:3])
    return fine(f"“{host}” is {shown}.", f"“{host}” è {shown}.")


async def connection(probes: Probes) -> Finding:
    where = f"{probes.host}:{probes.port}"
    try:
        await probes.addresses()
    except OSError:
        return _BEFORE
    firewall = Text(
        f"Outgoing connections to port {probes.port} must be allowed in the firewall, and by the provider.",
        f"Il firewall e il provider devono consentire le connessioni in uscita verso la porta {probes.port}.",
    )
    try:
        address = await probes.connected()
    except ConnectionRefusedError:
        return fault(f"{where} refuses the connection.", f"{where} rifiuta la connessione.", firewall)
    except TimeoutError:
        return fault(f"{where} does not answer.", f"{where} non risponde.", firewall)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
            return fault(
                f"There is no way to {where} ({reason}).",
                f"Non c'è una rotta verso {where} ({reason}).",
                Text(
                    "Check the WAN connection: Network > Interfaces in LuCI.",
                    "Controlla la connessione WAN: Rete > Interfacce in LuCI.",
                ),
            )
        return fault(
            f"The connection to {where} fails ({reason}).",
            f"La connessione a {where} non riesce ({reason}).",
            firewall,
        )
    return fine(f"{where} answers at {address}.", f"{where} risponde all'indirizzo {address}.")


async def ca_bundle(probes: Probes) -> Finding:
    path = Path(await probes.stripe.ca_bundle())
    reinstall = Text(
        "Install it again from its file: opkg install --force-reinstall FILE (OpenWrt 24.10). With apk: apk "
        "fix python3-stripe; if that says 'skipped', apk del -r python3-stripe and apk add --allow-untrusted "
        "with the files of all packages. Keys and purchases stay.",
        "Reinstallalo dal suo file: opkg install --force-reinstall FILE (OpenWrt 24.10). Con apk: apk fix "
        "python3-stripe; se risponde 'skipped', apk del -r python3-stripe e apk add --allow-untrusted con i "
        "file di tutti i pacchetti. Chiavi e acquisti restano.",
    )

    def count() -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=path)
        return context.cert_store_stats()["x509_ca"]

    try:
        authorities = await probes.off_the_loop(count)
    except FileNotFoundError:
        return fault(
            f"The file of certificate authorities, {path}, is missing.",
            f"Manca il file delle autorità di certificazione, {path}.",
            reinstall,
        )
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or type(error).__name__
        return fault(
            f"The file of certificate authorities, {path}, cannot be read ({reason}).",
            f"Il file delle autorità di certificazione, {path}, non è leggibile ({reason}).",
            reinstall,
        )
    if authorities == 0:
        return fault(
            f"The file of certificate authorities, {path}, has none in it.",
            f"Il file delle autorità di certificazione, {path}, non ne contiene nessuna.",
            reinstall,
        )
    return fine(
        f"{authorities} certificate authorities are known.",
        f"Sono note {authorities} autorità di certificazione.",
    )


async def tls(probes: Probes) -> Finding:
    if not probes.encrypted:
        return note(
            "No encryption: Stripe is simulated on this machine.",
            "Nessuna cifratura: Stripe è simulato su questa macchina.",
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
                f"For the router's clock the certificate of “{probes.host}” is not valid "
                f"({error.verify_message}).",
                f"Secondo l'orologio del router il certificato di “{probes.host}” non è valido "
                f"({error.verify_message}).",
                _CLOCK_HINT,
            )
        return fault(
            f"The certificate of “{probes.host}” cannot be trusted ({error.verify_message}).",
            f"Il certificato di “{probes.host}” non è attendibile ({error.verify_message}).",
            Text(
                "Somebody between the router and Stripe answers in its place: a hotel's login page, a "
                "filter, an antivirus proxy. Exempt the router from it. Verification is never switched off.",
                "Qualcuno tra il router e Stripe risponde al suo posto: la pagina di accesso di un hotel, un "
                "filtro, il proxy di un antivirus. Escludi il router. La verifica non viene mai disattivata.",
            ),
        )
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", "") or type(error).__name__)
        return fault(
            f"No encrypted connection to “{probes.host}” comes about ({reason}).",
            f"Non si riesce a stabilire una connessione cifrata con “{probes.host}” ({reason}).",
            Text(
                "Something between the router and Stripe does not speak TLS: a firewall, a proxy, a login "
                "page.",
                "Qualcosa tra il router e Stripe non parla TLS: un firewall, un proxy, una pagina di "
                "accesso.",
            ),
        )
    return fine(
        f"{made.version}; the certificate is valid until {made.valid_until}.",
        f"{made.version}; il certificato è valido fino al {made.valid_until}.",
    )


async def stripe(probes: Probes) -> Finding:
    if not probes.situation.keys.current().secret_key:
        return NO_KEY
    answers = fine("Stripe answers.", "Stripe risponde.")
    try:
        await probes.answer()
    except PaymentError as error:
        if error.code == "stripe_unreachable":
            reason = str(error.details.get("reason"))
            return fault(
                f"Stripe cannot be reached ({reason}).",
                f"Stripe non è raggiungibile ({reason}).",
                Text(
                    "The checks “dns”, “connection” and “tls” tell where the way ends.",
                    "I controlli “dns”, “connection” e “tls” dicono dove si interrompe la strada.",
                ),
            )
        if error.code == "rate_limited":
            return warning(
                "Stripe asks for fewer requests.",
                "Stripe chiede di ridurre le richieste.",
                Text(
                    "Nothing to do unless it stays so: then something else uses the same Stripe account "
                    "heavily.",
                    "Non serve fare nulla, a meno che non continui: in tal caso qualcos'altro usa "
                    "intensamente lo stesso account Stripe.",
                ),
            )
        if error.details.get("transient"):
            status = error.details.get("http_status")
            return fault(
                f"Stripe answers with an error of its own (HTTP {status}).",
                f"Stripe risponde con un proprio errore (HTTP {status}).",
                Text(
                    "Nothing to do here; see https://status.stripe.com. What is unlocked stays unlocked.",
                    "Qui non serve fare nulla; vedi https://status.stripe.com. Ciò che è sbloccato resta "
                    "sbloccato.",
                ),
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
            "The exact time is not known yet: Stripe has not been heard since the start. Nothing is locked "
            "for age meanwhile.",
            "L'ora esatta non è ancora nota: Stripe non ha ancora risposto dall'avvio. Nel frattempo nulla "
            "viene bloccato per scadenza.",
        )
    skew = int(probes.situation.wall_clock()) - trusted
    if abs(skew) > SKEW_S:
        here = format_time(max(0, trusted + skew))
        return warning(
            f"The router's clock says {here}, Stripe's {format_time(trusted)}. Payments use Stripe's.",
            f"L'orologio del router segna {here}, quello di Stripe {format_time(trusted)}. I pagamenti usano "
            "quello di Stripe.",
            _CLOCK_HINT,
        )
    return fine(
        f"The router's clock and Stripe's agree ({format_time(trusted)}).",
        f"L'orologio del router e quello di Stripe concordano ({format_time(trusted)}).",
    )
