"""/receipts/ID, /invoices/ID and /invoices/ID/pdf: what `receipt_url`, `hosted_invoice_url` and
`invoice_pdf` point to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from ..api_errors import Json
from ..money import format_amount
from .pdf import one_page
from .templating import format_date, language, page

if TYPE_CHECKING:
    from ..cloud import StripeCloud


class DocumentsPage:
    def __init__(self, cloud: StripeCloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/receipts/{id}", self._receipt),
            web.get("/invoices/{id}", self._invoice),
            web.get("/invoices/{id}/pdf", self._invoice_pdf),
        ]

    async def _receipt(self, request: web.Request) -> web.Response:
        charge = self._object(request, "charge")
        return page(
            "receipt.html",
            locale=language(request, None),
            charge=charge,
            seller=self._cloud.account.NAME,
            method=_method(charge),
        )

    async def _invoice(self, request: web.Request) -> web.Response:
        invoice = self._object(request, "invoice")
        return page(
            "invoice.html", locale=language(request, None), invoice=invoice, seller=self._cloud.account.NAME
        )

    async def _invoice_pdf(self, request: web.Request) -> web.Response:
        invoice = self._object(request, "invoice")
        currency = invoice["currency"]
        lines = [
            self._cloud.account.NAME,
            f"Invoice {invoice['number']}   {format_date(invoice['created'])}   {invoice['status']}",
            "",
            *(
                f"{line['description']}: {format_amount(line['amount'], currency)}"
                for line in invoice["lines"]["data"]
            ),
            "",
            f"Total: {format_amount(invoice['total'], currency)}",
            f"Paid: {format_amount(invoice['amount_paid'], currency)}",
            "",
            "Made by a simulator: no money was moved.",
        ]
        headers = {"Content-Disposition": f'inline; filename="Invoice-{invoice["number"]}.pdf"'}
        return web.Response(body=one_page(lines), content_type="application/pdf", headers=headers)

    def _object(self, request: web.Request, kind: str) -> Json:
        found = self._cloud.account.find(request.match_info["id"])
        if found is None or found["object"] != kind:
            raise web.HTTPNotFound(text=f"No such {kind}.")
        return found


def _method(charge: Json) -> str:
    details = charge["payment_method_details"]
    if details["type"] == "sepa_debit":
        return f"SEPA ···· {details['sepa_debit']['last4']}"
    return f"{details['card']['brand'].title()} ···· {details['card']['last4']}"
