"""The pages a person sees: Checkout, portal, receipts and invoices, the simulator's own start page."""
