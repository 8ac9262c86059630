"""Lines that go live one by one, where a batch would not pay or the provider has none."""
