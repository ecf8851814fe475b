"""Every word of the two pages, in English and Italian.

A text is chosen by the state of the payment (`outcome.State`): `STATE_heading`, `STATE_lead`. `{item}`
is the plan or product that was bought; the template escapes it.
"""

from __future__ import annotations

from collections.abc import Mapping

_ENGLISH: Mapping[str, str] = {
    "site": "Router OS payments",
    "waiting_heading": "Confirming your payment",
    "waiting_lead": (
        "Stripe is confirming the payment to this router. It usually takes a few seconds; this page "
        "follows by itself."
    ),
    "waiting_offline": (
        "This router cannot reach Stripe at the moment. It keeps trying by itself, and nothing you paid "
        "is lost."
    ),
    "open_heading": "Not paid yet",
    "open_lead": (
        "The payment page of {item} is still open. Once you have paid there, this page follows by itself."
    ),
    "open_continue": "Go on to the payment",
    "paid_heading": "Payment received",
    "paid_lead": "Thank you! You bought {item}.",
    "paid_features": "Unlocked on your router",
    "paid_unlocking": "Being unlocked on your router",
    "paid_close": "You can close this page: the shop on your router notices the payment by itself.",
    "pending_heading": "Your bank is processing the payment",
    "pending_lead": (
        "A bank debit takes a few working days. {item} unlocks by itself as soon as the money arrives; "
        "you can close this page."
    ),
    "failed_heading": "The payment did not go through",
    "failed_lead": "Nothing was charged for {item}. You can try again from the shop.",
    "expired_heading": "This payment page has expired",
    "expired_lead": "Nothing was charged. To buy {item}, start again from the shop.",
    "canceled_heading": "Payment canceled",
    "canceled_lead": "You left the payment page before paying: nothing was charged.",
    "refunded_heading": "Payment refunded",
    "refunded_lead": (
        "The money for {item} is on its way back to your payment method; banks take up to ten days."
    ),
    "partially_refunded_heading": "Payment partly refunded",
    "partially_refunded_lead": "Part of what you paid for {item} is on its way back to your payment method.",
    "disputed_heading": "Payment disputed",
    "disputed_lead": (
        "Your bank has opened a dispute over the payment for {item}. What you bought stays until it is "
        "decided."
    ),
    "unknown_heading": "This payment is not known here",
    "unknown_lead": (
        "The address of this page names no payment of this router. If you have just paid, look in the "
        "shop: it shows what you own."
    ),
    "error_heading": "This page cannot be shown now",
    "amount": "Amount",
    "date": "Date",
    "shop": "Back to the shop",
    "item_fallback": "what you chose",
}

_ITALIAN: Mapping[str, str] = {
    "site": "Pagamenti di Router OS",
    "waiting_heading": "Conferma del pagamento in corso",
    "waiting_lead": (
        "Il router sta ricevendo da Stripe la conferma del pagamento. Di solito bastano pochi secondi: la"
        " pagina si aggiorna da sola."
    ),
    "waiting_offline": (
        "In questo momento il router non riesce a raggiungere Stripe. Continua a riprovare da solo e "
        "nulla di ciò che hai pagato andrà perso."
    ),
    "open_heading": "Non ancora pagato",
    "open_lead": (
        "La pagina di pagamento per {item} è ancora aperta. Appena avrai pagato, questa pagina si "
        "aggiornerà da sola."
    ),
    "open_continue": "Vai al pagamento",
    "paid_heading": "Pagamento ricevuto",
    "paid_lead": "Grazie! Hai acquistato {item}.",
    "paid_features": "Sbloccato sul tuo router",
    "paid_unlocking": "In corso di sblocco sul tuo router",
    "paid_close": "Puoi chiudere questa pagina: il negozio sul router si accorge da solo del pagamento.",
    "pending_heading": "La banca sta elaborando il pagamento",
    "pending_lead": (
        "Un addebito bancario richiede qualche giorno lavorativo. {item} si sbloccherà da sé all'arrivo "
        "del denaro; puoi chiudere questa pagina."
    ),
    "failed_heading": "Il pagamento non è andato a buon fine",
    "failed_lead": "Non ti è stato addebitato nulla per {item}. Puoi riprovare dal negozio.",
    "expired_heading": "Questa pagina di pagamento è scaduta",
    "expired_lead": "Non ti è stato addebitato nulla. Per acquistare {item}, ricomincia dal negozio.",
    "canceled_heading": "Pagamento annullato",
    "canceled_lead": "Hai lasciato la pagina di pagamento prima di pagare: non ti è stato addebitato nulla.",
    "refunded_heading": "Pagamento rimborsato",
    "refunded_lead": (
        "L'importo pagato per {item} sta tornando sul tuo metodo di pagamento; le banche impiegano fino a"
        " dieci giorni."
    ),
    "partially_refunded_heading": "Pagamento rimborsato in parte",
    "partially_refunded_lead": (
        "Una parte di quanto hai pagato per {item} sta tornando sul tuo metodo di pagamento."
    ),
    "disputed_heading": "Pagamento contestato",
    "disputed_lead": (
        "La tua banca ha aperto una contestazione sul pagamento per {item}. Fino alla decisione ciò che "
        "hai acquistato resta attivo."
    ),
    "unknown_heading": "Questo pagamento qui non risulta",
    "unknown_lead": (
        "L'indirizzo di questa pagina non corrisponde a nessun pagamento di questo router. Se hai appena "
        "pagato, guarda nel negozio: lì trovi ciò che possiedi."
    ),
    "error_heading": "Ora non è possibile mostrare questa pagina",
    "amount": "Importo",
    "date": "Data",
    "shop": "Torna al negozio",
    "item_fallback": "ciò che hai scelto",
}

TEXTS: Mapping[str, Mapping[str, str]] = {"en": _ENGLISH, "it": _ITALIAN}
