"""Every error that a caller of the daemon can meet: a code, a sentence, a hint what to do, and its two
statuses.

`CODES` is the whole list. Code elsewhere says only ``raise PaymentError("unknown_price", price_id=given)``;
the faces (ubus, HTTP) turn that into their reply, so that both say the same words. Nothing in a sentence
comes from a stack trace, and nothing given as a detail reaches a sentence that does not name it.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from stripe_payments.i18n import Text
from stripe_payments.log import redact
from ubus_py import Status

__all__ = ["CODES", "Code", "ErrorBody", "PaymentError"]

ErrorBody = dict[str, dict[str, str]]


class Code(NamedTuple):
    """What one error code means to each face and to a person.

    In `message` and `hint`, ``{name}`` is filled from the error's details, and a part in square brackets is
    left out unless all its names were given: ``no price[ “{price_id}”]``.
    """

    ubus: Status
    http: int
    message: Text
    hint: Text


CODES: Final[Mapping[str, Code]] = {
    # What was asked for.
    "invalid_argument": Code(
        Status.INVALID_ARGUMENT,
        400,
        Text(
            "The request is not valid[ (“{argument}”)][: {reason}].",
            "La richiesta non è valida[ (“{argument}”)][: {reason}].",
        ),
        Text("Correct the request and send it again.", "Correggi la richiesta e inviala di nuovo."),
    ),
    "unknown_price": Code(
        Status.NOT_FOUND,
        404,
        Text(
            "No price[ “{price_id}”] is on sale on this router.",
            "Nessun prezzo[ “{price_id}”] è in vendita su questo router.",
        ),
        Text(
            "Choose one of the prices that the catalogue lists.",
            "Scegli uno dei prezzi elencati nel catalogo.",
        ),
    ),
    "price_unavailable": Code(
        Status.NOT_FOUND,
        409,
        Text(
            "The price[ “{price_id}”] cannot be bought at the moment.",
            "Il prezzo[ “{price_id}”] al momento non è acquistabile.",
        ),
        Text(
            "It does not exist at Stripe, or is no longer active there. An administrator can create "
            "it with “provision”.",
            "Su Stripe non esiste o non è più attivo. Un amministratore può crearlo con “provision”.",
        ),
    ),
    "unknown_feature": Code(
        Status.NOT_FOUND,
        404,
        Text(
            "This router has no feature[ “{feature}”].",
            "Questo router non ha nessuna funzione[ “{feature}”].",
        ),
        Text(
            "The method “features” lists the names of all features.",
            "Il metodo “features” elenca i nomi di tutte le funzioni.",
        ),
    ),
    "foreign_return_url": Code(
        Status.INVALID_ARGUMENT,
        400,
        Text(
            "The return address[ “{url}”] does not belong to this router.",
            "L'indirizzo di ritorno[ “{url}”] non appartiene a questo router.",
        ),
        Text(
            "Use an http or https address of this router, or add its origin to “allowed_origin” in "
            "the settings.",
            "Usa un indirizzo http o https di questo router, oppure aggiungi la sua origine ad "
            "“allowed_origin” "
            "nelle impostazioni.",
        ),
    ),
    "already_owned": Code(
        Status.INVALID_ARGUMENT,
        409,
        Text(
            "This router already has what[ “{item}”] would unlock.",
            "Questo router ha già ciò che l'acquisto[ di “{item}”] sbloccherebbe.",
        ),
        Text(
            "To change plan use “change_plan”[ with the subscription {subscription}]; invoices and payment "
            "methods are in the customer portal (“portal”).",
            "Per cambiare piano usa “change_plan”[ con l'abbonamento {subscription}]; fatture e metodi di "
            "pagamento sono nel portale clienti (“portal”).",
        ),
    ),
    "subscription_not_found": Code(
        Status.NOT_FOUND,
        404,
        Text(
            "This router has no subscription[ “{subscription}”].",
            "Questo router non ha nessun abbonamento[ “{subscription}”].",
        ),
        Text(
            "The method “subscriptions” lists those that there are.",
            "Il metodo “subscriptions” elenca quelli esistenti.",
        ),
    ),
    "not_changeable": Code(
        Status.INVALID_ARGUMENT,
        409,
        Text(
            "This cannot be done with the subscription[: {reason}].",
            "L'operazione non è possibile con questo abbonamento[: {reason}].",
        ),
        Text(
            "Look at its state with “subscriptions”; nothing has been changed or charged.",
            "Controlla il suo stato con “subscriptions”; nulla è stato modificato o addebitato.",
        ),
    ),
    "payment_failed": Code(
        Status.UNKNOWN_ERROR,
        409,
        Text("The payment did not succeed[: {reason}]", "Il pagamento non è riuscito[: {reason}]"),
        Text(
            "Give another payment method in the customer portal (“portal”), then try again.",
            "Indica un altro metodo di pagamento nel portale clienti (“portal”), poi riprova.",
        ),
    ),
    "nothing_bought": Code(
        Status.NOT_FOUND,
        404,
        Text(
            "This router has not bought anything yet, so it has no customer portal.",
            "Questo router non ha ancora acquistato nulla, quindi non ha un portale clienti.",
        ),
        Text("Choose something in the shop first.", "Scegli prima qualcosa nel negozio."),
    ),
    "payment_not_found": Code(
        Status.NOT_FOUND,
        404,
        Text(
            "This router made no payment[ “{payment_id}”].",
            "Questo router non ha effettuato nessun pagamento[ “{payment_id}”].",
        ),
        Text(
            "Check the identifier: it begins with cs_, pi_, in_, sub_ or ch_.",
            "Controlla l'identificativo: inizia con cs_, pi_, in_, sub_ o ch_.",
        ),
    ),
    "not_refundable": Code(
        Status.INVALID_ARGUMENT,
        409,
        Text(
            "The payment[ “{payment_id}”] cannot be refunded[: {reason}].",
            "Il pagamento[ “{payment_id}”] non è rimborsabile[: {reason}].",
        ),
        Text(
            "Only a payment that succeeded and is not yet fully refunded or disputed can be refunded.",
            "Si può rimborsare solo un pagamento riuscito, non ancora rimborsato del tutto e non contestato.",
        ),
    ),
    "amount_too_large": Code(
        Status.INVALID_ARGUMENT,
        400,
        Text(
            "The amount[ {amount}] is more than what is left to refund[ ({available})].",
            "L'importo[ {amount}] supera quanto resta da rimborsare[ ({available})].",
        ),
        Text(
            "Give a smaller amount in the currency's smallest unit (cents), or none to refund all "
            "that is left.",
            "Indica un importo minore nell'unità più piccola della valuta (centesimi), oppure nessuno per "
            "rimborsare tutto il resto.",
        ),
    ),
    # Who asks.
    "login_required": Code(
        Status.PERMISSION_DENIED,
        401,
        Text("This needs a login to the router.", "Serve l'accesso al router."),
        Text("Log in to LuCI, then try again.", "Accedi a LuCI e riprova."),
    ),
    "permission_denied": Code(
        Status.PERMISSION_DENIED,
        403,
        Text("You may not do this on this router.", "Non hai il permesso di farlo su questo router."),
        Text(
            "Ask the router's administrator for the right to make payments.",
            "Chiedi all'amministratore del router il diritto di effettuare pagamenti.",
        ),
    ),
    "cross_origin": Code(
        Status.PERMISSION_DENIED,
        403,
        Text("The request came from another website.", "La richiesta proviene da un altro sito web."),
        Text("Open the router's own page and try again there.", "Apri la pagina del router e riprova da lì."),
    ),
    # How it was asked.
    "invalid_json": Code(
        Status.INVALID_ARGUMENT,
        400,
        Text(
            "The body of the request is not a JSON object.", "Il corpo della richiesta non è un oggetto JSON."
        ),
        Text(
            "Send a JSON object in UTF-8, as in the documentation's example.",
            "Invia un oggetto JSON in UTF-8, come nell'esempio della documentazione.",
        ),
    ),
    "unsupported_media_type": Code(
        Status.INVALID_ARGUMENT,
        415,
        Text("The body of the request must be JSON.", "Il corpo della richiesta deve essere JSON."),
        Text(
            "Send the header “Content-Type: application/json”.",
            "Invia l'intestazione “Content-Type: application/json”.",
        ),
    ),
    "body_too_large": Code(
        Status.INVALID_ARGUMENT,
        413,
        Text("The body of the request is too large.", "Il corpo della richiesta è troppo grande."),
        Text("At most 512 KiB are accepted.", "Sono accettati al massimo 512 KiB."),
    ),
    "method_not_allowed": Code(
        Status.NOT_SUPPORTED,
        405,
        Text(
            "This address does not accept the method[ {method}].",
            "Questo indirizzo non accetta il metodo[ {method}].",
        ),
        Text("[Use {allowed}.]", "[Usa {allowed}.]"),
    ),
    "not_found": Code(
        Status.NOT_FOUND,
        404,
        Text("There is nothing at this address.", "A questo indirizzo non c'è nulla."),
        Text("Check the address.", "Controlla l'indirizzo."),
    ),
    # The webhook.
    "invalid_signature": Code(
        Status.PERMISSION_DENIED,
        400,
        Text("The webhook's signature is not valid.", "La firma del webhook non è valida."),
        Text(
            "Compare the webhook secret with the one that Stripe shows for this endpoint.",
            "Confronta il segreto del webhook con quello che Stripe mostra per questo endpoint.",
        ),
    ),
    "stale_timestamp": Code(
        Status.PERMISSION_DENIED,
        400,
        Text("The webhook's signature is too old.", "La firma del webhook è troppo vecchia."),
        Text("Stripe signs again whenever it retries.", "Stripe firma di nuovo a ogni nuovo tentativo."),
    ),
    "webhook_not_configured": Code(
        Status.NOT_SUPPORTED,
        503,
        Text("This router has no webhook secret.", "Questo router non ha un segreto per il webhook."),
        Text(
            "Set it up with “setup_webhook”, or give the secret with “set_keys”. Payments work "
            "without it too.",
            "Configuralo con “setup_webhook” o fornisci il segreto con “set_keys”. I pagamenti "
            "funzionano anche senza.",
        ),
    ),
    "clock_not_trusted": Code(
        Status.TIMEOUT,
        503,
        Text(
            "The router does not know the time yet, so it cannot check the signature.",
            "Il router non conosce ancora l'ora esatta e non può verificare la firma.",
        ),
        Text(
            "Nothing to do: it learns the time as soon as it reaches Stripe, and Stripe sends the "
            "event again.",
            "Non serve fare nulla: la saprà appena raggiunge Stripe, e Stripe invierà di nuovo l'evento.",
        ),
    ),
    # Stripe.
    "not_configured": Code(
        Status.NOT_SUPPORTED,
        503,
        Text("Payments are not set up on this router.", "I pagamenti non sono configurati su questo router."),
        Text(
            "An administrator must enter the Stripe keys under Payments, or with “set_keys”.",
            "Un amministratore deve inserire le chiavi di Stripe in Pagamenti, oppure con “set_keys”.",
        ),
    ),
    "disabled": Code(
        Status.NOT_SUPPORTED,
        503,
        Text("Payments are switched off on this router.", "I pagamenti sono disattivati su questo router."),
        Text(
            "Switch them on with: uci set stripe-payments.main.enabled=1; uci commit stripe-payments",
            "Attivali con: uci set stripe-payments.main.enabled=1; uci commit stripe-payments",
        ),
    ),
    "stripe_unreachable": Code(
        Status.CONNECTION_FAILED,
        502,
        Text("Stripe cannot be reached.", "Stripe non è raggiungibile."),
        Text(
            "Check the router's internet connection and try again. Nothing has been charged twice.",
            "Controlla la connessione a Internet del router e riprova. Nessun importo è stato "
            "addebitato due volte.",
        ),
    ),
    "stripe_error": Code(
        Status.UNKNOWN_ERROR,
        502,
        Text(
            "Stripe did not accept the request[: {reason}]",
            "Stripe non ha accettato la richiesta[: {reason}]",
        ),
        Text(
            "Try again later. The log has Stripe's number of the request[: {request_id}].",
            "Riprova più tardi. Il registro riporta il numero della richiesta a Stripe[: {request_id}].",
        ),
    ),
    "stripe_key_invalid": Code(
        Status.PERMISSION_DENIED,
        502,
        Text(
            "Stripe does not accept this router's secret key.",
            "Stripe non accetta la chiave segreta di questo router.",
        ),
        Text(
            "The key was revoked, has expired or was copied incompletely: enter a current one with "
            "“set_keys”.",
            "La chiave è stata revocata, è scaduta o è incompleta: inseriscine una valida con “set_keys”.",
        ),
    ),
    "stripe_key_permission": Code(
        Status.PERMISSION_DENIED,
        502,
        Text(
            "This router's Stripe key lacks a permission[: {permission}].",
            "Alla chiave Stripe di questo router manca un permesso[: {permission}].",
        ),
        Text(
            "Add the permission to the restricted key in Stripe's Dashboard; “check” tells what else is "
            "missing.",
            "Aggiungi il permesso alla chiave con restrizioni nella Dashboard di Stripe; “check” dice che "
            "cos'altro manca.",
        ),
    ),
    "rate_limited": Code(
        Status.TIMEOUT,
        429,
        Text("Too many requests in a short time.", "Troppe richieste in poco tempo."),
        Text(
            "Try again in [{retry_after} s or ]a moment.", "Riprova tra[ {retry_after} s o] qualche istante."
        ),
    ),
    # The daemon itself.
    "timeout": Code(
        Status.TIMEOUT,
        503,
        Text("The answer took too long.", "La risposta ha richiesto troppo tempo."),
        Text("Try again in a moment.", "Riprova tra qualche istante."),
    ),
    "starting": Code(
        Status.TIMEOUT,
        503,
        Text("Payments are starting up.", "I pagamenti si stanno avviando."),
        Text("Try again in a few seconds.", "Riprova tra qualche secondo."),
    ),
    "ledger_unavailable": Code(
        Status.SYSTEM_ERROR,
        503,
        Text(
            "The router cannot store payments at the moment[: {reason}]",
            "Il router al momento non può salvare i pagamenti[: {reason}]",
        ),
        Text(
            "Free some space on the router's storage, then restart the service stripe-payments.",
            "Libera spazio nella memoria del router, poi riavvia il servizio stripe-payments.",
        ),
    ),
    "settings_not_stored": Code(
        Status.SYSTEM_ERROR,
        503,
        Text(
            "The price ids could not be written into the router's configuration[: {reason}].",
            "Gli id dei prezzi non sono stati scritti nella configurazione del router[: {reason}].",
        ),
        Text(
            "Restart rpcd (service rpcd restart), then run “provision” again: nothing is created twice.",
            "Riavvia rpcd (service rpcd restart), poi riesegui “provision”: nulla viene creato due volte.",
        ),
    ),
    "internal_error": Code(
        Status.UNKNOWN_ERROR,
        500,
        Text("Something went wrong inside the router.", "Si è verificato un errore interno del router."),
        Text(
            "Try again; if it persists, the system log tells more (logread -e stripe-payments).",
            "Riprova; se persiste, il registro di sistema dice di più (logread -e stripe-payments).",
        ),
    ),
}

_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_NAME = re.compile(r"\{(\w+)\}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_DETAIL_CHARS = 200


class PaymentError(Exception):
    """An error that a caller is told about.

    `details` fill the sentence's placeholders; a detail that is a `Text` is said in the reader's language.
    Details that no sentence names stay for the faces and the log (``retry_after`` in seconds, for instance).
    """

    def __init__(self, code: str, **details: object) -> None:
        self.code = code
        self.details: Mapping[str, object] = details
        self._entry = CODES[code]
        super().__init__(code, self.message)

    @property
    def message(self) -> str:
        """The English sentence."""
        return self.message_in("en")

    @property
    def hint(self) -> str | None:
        """What to do, in English."""
        return self.hint_in("en")

    @property
    def ubus_status(self) -> Status:
        """The status of the reply on ubus."""
        return self._entry.ubus

    @property
    def http_status(self) -> int:
        """The status of the reply over HTTP."""
        return self._entry.http

    def message_in(self, locale: str | None) -> str:
        """The sentence in the reader's language."""
        sentence = _fill(self._entry.message.in_locale(locale), self.details, locale)
        return sentence.replace("..", ".") if sentence.endswith((".", "?", "!", "…")) else f"{sentence}."

    def hint_in(self, locale: str | None) -> str | None:
        """What to do, in the reader's language."""
        return _fill(self._entry.hint.in_locale(locale), self.details, locale) or None

    def body(self, locale: str | None = "en") -> ErrorBody:
        """The reply's body: ``{"error": {"code", "message", "hint"}}``; no hint where there is none."""
        fields = {"code": self.code, "message": self.message_in(locale)}
        hint = self.hint_in(locale)
        if hint is not None:
            fields["hint"] = hint
        return {"error": fields}

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def _fill(template: str, details: Mapping[str, object], locale: str | None) -> str:
    def optional(part: re.Match[str]) -> str:
        inside = part.group(1)
        return inside if all(details.get(name) is not None for name in _NAME.findall(inside)) else ""

    def value(name: re.Match[str]) -> str:
        detail = details.get(name.group(1))
        # a key that somebody pasted into the wrong field must not end up on a page or in a ticket
        said = redact(detail.in_locale(locale) if isinstance(detail, Text) else str(detail))
        # A caller's own words come back to a screen or a terminal: one line, no control characters, and no
        # stand-ins for bytes that are no text.
        said = _UNPRINTABLE.sub(" ", said).strip()
        return said if len(said) <= _DETAIL_CHARS else said[: _DETAIL_CHARS - 1] + "…"

    return _NAME.sub(value, _OPTIONAL.sub(optional, template))
