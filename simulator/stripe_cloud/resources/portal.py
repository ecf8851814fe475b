"""/v1/billing_portal/sessions, /v1/billing_portal/configurations"""

from __future__ import annotations

from .. import portal
from ..account import Account
from ..api_errors import Json
from ..rendering import page


def create_session(account: Account, params: Json) -> Json:
    return portal.create_session(account, params)


def create_configuration(account: Account, params: Json) -> Json:
    return portal.create_configuration(account, params)


def retrieve_configuration(account: Account, params: Json, configuration_id: str) -> Json:
    return account.get("billing_portal.configuration", configuration_id)


def update_configuration(account: Account, params: Json, configuration_id: str) -> Json:
    configuration = account.get("billing_portal.configuration", configuration_id)
    return portal.update_configuration(account, configuration, params)


def list_configurations(account: Account, params: Json) -> Json:
    rows = [
        row
        for row in account.newest_first("billing_portal.configuration")
        if all(row[name] == params[name] for name in ("active", "is_default") if name in params)
    ]
    return page(account, rows, params, "/v1/billing_portal/configurations")
