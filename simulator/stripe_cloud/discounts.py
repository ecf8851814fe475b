"""Coupons and promotion codes: whether one may be used, and what it takes off."""

from __future__ import annotations

from .account import Account
from .api_errors import Json, invalid


def coupon_of(account: Account, given: Json, *, param: str) -> tuple[Json, Json | None]:
    """(coupon, promotion code or None) of `{"coupon": id}` or `{"promotion_code": id}`; 400 if it may not
    be used.
    """
    code = None
    if "promotion_code" in given:
        code = account.get("promotion_code", given["promotion_code"], param=f"{param}[promotion_code]")
        check_code(account, code)
        coupon = account.get("coupon", code["promotion"]["coupon"])
    elif "coupon" in given:
        coupon = account.get("coupon", given["coupon"], param=f"{param}[coupon]")
    else:
        raise invalid(
            f"Missing required param: {param}[coupon].", param=f"{param}[coupon]", code="parameter_missing"
        )
    if not usable(account, coupon):
        raise invalid(
            f"Coupon {coupon['id']} is expired or has been used up.", param=param, code="coupon_expired"
        )
    return coupon, code


def usable(account: Account, coupon: Json) -> bool:
    over = coupon["redeem_by"] is not None and coupon["redeem_by"] <= account.now()
    used_up = coupon["max_redemptions"] is not None and coupon["times_redeemed"] >= coupon["max_redemptions"]
    return not over and not used_up


def check_code(account: Account, code: Json) -> None:
    over = code["expires_at"] is not None and code["expires_at"] <= account.now()
    used_up = code["max_redemptions"] is not None and code["times_redeemed"] >= code["max_redemptions"]
    if not code["active"] or over or used_up:
        raise invalid(
            "This promotion code is not active.", code="promotion_code_expired", param="promotion_code"
        )


def find_code(account: Account, text: str) -> Json | None:
    """An active promotion code as a buyer types it: case does not matter."""
    wanted = text.strip().upper()
    return next(
        (c for c in account.newest_first("promotion_code") if c["active"] and c["code"].upper() == wanted),
        None,
    )


def amount_off(coupon: Json, subtotal: int, currency: str) -> int:
    """How much the coupon takes off `subtotal` (minor units), never more than all of it."""
    if coupon["percent_off"] is not None:
        return min(subtotal, round(subtotal * float(coupon["percent_off"]) / 100))
    if coupon["currency"] != currency:
        return 0
    return min(subtotal, int(coupon["amount_off"]))


def redeem(account: Account, coupon: Json, code: Json | None) -> None:
    with account.changing(coupon, "coupon.updated"):
        coupon["times_redeemed"] += 1
        coupon["valid"] = usable(account, coupon)
    if code is not None:
        with account.changing(code, "promotion_code.updated"):
            code["times_redeemed"] += 1
