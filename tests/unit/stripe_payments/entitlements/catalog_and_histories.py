"""A small catalog, and every history that a router with it may have."""

from hypothesis import strategies as st

from stripe_payments.entitlements import ManualGrant, Purchase, Subscription
from stripe_payments.i18n import Title
from stripe_payments.settings import Feature, Plan, Price, Product, Settings

DAY = 86_400
NOW = 1_750_000_000
GRACE, OFFLINE = 7, 30
NOTHING = Title("", "")

SETTINGS = Settings(
    grace_days=GRACE,
    offline_days=OFFLINE,
    plans={
        "small": Plan("small", NOTHING, NOTHING, ("a",)),
        "large": Plan("large", NOTHING, NOTHING, ("a", "b")),
    },
    products={"once": Product("once", NOTHING, NOTHING, ("a", "b"))},
    prices={
        "small_m": Price("small_m", "small", "price_small", 100, "eur", "month"),
        "large_m": Price("large_m", "large", "price_large", 200, "eur", "month"),
        "once_1": Price("once_1", "once", "price_once", 900, "eur", None),
    },
    features={name: Feature(name, NOTHING, NOTHING) for name in ("a", "b", "c")},
)


times = st.none() | st.integers(NOW - 60 * DAY, NOW + 60 * DAY)
statuses = st.sampled_from(
    [
        "active",
        "trialing",
        "past_due",
        "canceled",
        "unpaid",
        "incomplete",
        "incomplete_expired",
        "paused",
        "new",
    ]
)
subscriptions = st.builds(
    Subscription,
    id=st.sampled_from([f"sub_{n}" for n in range(6)]),
    status=statuses,
    price_id=st.sampled_from(["price_small", "price_large", "price_gone"]),
    price_alias=st.sampled_from([None, "small_m", "gone"]),
    plan=st.sampled_from([None, "large", "gone"]),
    current_period_end=times,
    cancel_at=times,
    cancel_at_period_end=st.booleans(),
    trial_end=times,
    paused_collection=st.booleans(),
    past_due_since=times,
    ended_at=times,
)
purchases = st.builds(
    Purchase,
    id=st.sampled_from([f"cs_{n}" for n in range(4)]),
    price_id=st.sampled_from(["price_once", "price_gone"]),
    product=st.sampled_from([None, "once", "gone"]),
    paid=st.booleans(),
    fully_refunded=st.booleans(),
    dispute=st.sampled_from([None, "open", "won", "lost"]),
    paid_at=times,
)
grants = st.builds(ManualGrant, feature=st.sampled_from(["a", "c", "z"]), until=times)
histories = st.tuples(
    st.lists(subscriptions, max_size=4, unique_by=lambda s: s.id),
    st.lists(purchases, max_size=3, unique_by=lambda p: p.id),
    st.lists(grants, max_size=2, unique_by=lambda g: g.feature),
)
History = tuple[list[Subscription], list[Purchase], list[ManualGrant]]
