"""/v1/customers, /v1/customers/search, /v1/payment_methods"""

from __future__ import annotations

from typing import Any

from ..account import Account, merge_metadata
from ..api_errors import Json, invalid, resource_missing
from ..billing import balance, subscriptions
from ..objects import customers as objects
from ..rendering import included, list_of, page
from .stored import matching


def create_customer(account: Account, params: Json) -> Json:
    customer = account.add(objects.customer(account, {**params, "balance": 0}))
    account.emit("customer.created", customer)
    if params.get("balance"):
        balance.change(account, customer, params["balance"], "initial")
    return customer


def update_customer(account: Account, params: Json, customer_id: str) -> Json:
    customer = account.get("customer", customer_id)
    if customer.get("deleted"):
        raise resource_missing("customer", customer_id)
    with account.changing(customer, "customer.updated"):
        for name, value in params.items():
            if name == "metadata":
                customer["metadata"] = merge_metadata(customer["metadata"], value)
            elif name == "address":
                customer["address"] = objects.address(value)
            elif name == "shipping":
                customer["shipping"] = (
                    {**value, "address": objects.address(value["address"])} if value else None
                )
            elif name == "invoice_settings":
                for key, inner in value.items():
                    if key == "default_payment_method" and inner:
                        inner = account.get(
                            "payment_method", inner, param="invoice_settings[default_payment_method]"
                        )["id"]
                    customer["invoice_settings"][key] = inner or None
            elif name in customer and name != "balance":
                customer[name] = value if value != "" else None
    if params.get("balance", customer["balance"]) != customer["balance"]:
        balance.change(account, customer, params["balance"] - customer["balance"], "adjustment")
    return customer


def delete_customer(account: Account, params: Json, customer_id: str) -> Json:
    customer = account.get("customer", customer_id)
    if customer.get("deleted"):
        raise resource_missing("customer", customer_id)
    for sub in list(account.newest_first("subscription")):
        if sub["customer"] == customer_id and sub["status"] not in subscriptions.ENDED:
            subscriptions.cancel(account, sub, {})
    account.emit("customer.deleted", customer)
    return account.remove(customer)


def list_customer_payment_methods(account: Account, params: Json, customer_id: str) -> Json:
    account.get("customer", customer_id)
    rows = matching(account, "payment_method", {**params, "customer": customer_id}, "customer", "type")
    return page(account, rows, params, f"/v1/customers/{customer_id}/payment_methods")


def create_balance_transaction(account: Account, params: Json, customer_id: str) -> Json:
    customer = account.get("customer", customer_id)
    if customer.get("deleted"):
        raise resource_missing("customer", customer_id)
    currency = params["currency"].lower()
    if customer["currency"] not in {None, currency}:
        raise invalid(
            f"The currency of a customer's balance transactions must be {customer['currency']}.",
            param="currency",
        )
    return balance.change(account, customer, params["amount"], "adjustment", currency=currency, params=params)


def retrieve_balance_transaction(
    account: Account, params: Json, customer_id: str, transaction_id: str
) -> Json:
    found = account.get("customer_balance_transaction", transaction_id)
    if found["customer"] != customer_id:
        raise resource_missing("customer_balance_transaction", transaction_id)
    return found


def list_balance_transactions(account: Account, params: Json, customer_id: str) -> Json:
    account.get("customer", customer_id)
    given = {**params, "customer": customer_id}
    rows = matching(account, "customer_balance_transaction", given, "customer", "invoice")
    return page(account, rows, params, f"/v1/customers/{customer_id}/balance_transactions")


@included("customer", "subscriptions")
def _subscriptions(account: Account, customer: Json) -> Any:
    rows = [
        row
        for row in account.newest_first("subscription")
        if row["customer"] == customer["id"] and row["status"] not in {"canceled", "incomplete_expired"}
    ]
    return list_of(rows, f"/v1/customers/{customer['id']}/subscriptions")


@included("customer", "sources")
def _sources(account: Account, customer: Json) -> Any:
    return list_of([], f"/v1/customers/{customer['id']}/sources")


@included("customer", "tax_ids")
def _tax_ids(account: Account, customer: Json) -> Any:
    return list_of([], f"/v1/customers/{customer['id']}/tax_ids")
