"""How often somebody may try to sign in; part of the list in ``model.py``. What each counter is for stands in docs/users.md."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from gateway.settings.values import Seconds, Slice, Whole


class AddressThrottle(Slice):
    """Attempts from one address, at whatever accounts."""

    burst: Whole = Field(
        30, ge=1, le=100000, description="Attempts from one address at once; then one whenever one is forgotten."
    )
    every: Seconds = Field(10.0, ge=0.001, description="Seconds after which one attempt from an address is forgotten.")
    ipv4_prefix: Whole = Field(32, ge=8, le=32, description="Bits of an IPv4 address that make one caller.")
    ipv6_prefix: Whole = Field(64, ge=16, le=128, description="Bits of an IPv6 address that make one caller.")


class AccountAtAddressThrottle(Slice):
    """Attempts at one account from one address."""

    burst: Whole = Field(5, ge=1, le=100000, description="Attempts at one account from one address at once.")
    every: Seconds = Field(60.0, ge=0.001, description="Seconds after which one of them is forgotten.")


class AccountThrottle(Slice):
    """Attempts at one account from everywhere, known browsers aside: pauses that grow, never a lock."""

    burst: Whole = Field(10, ge=1, le=100000, description="Attempts at one account that need no pause between them.")
    every: Seconds = Field(60.0, ge=0.001, description="Seconds after which one of them is forgotten.")
    first_delay: Seconds = Field(
        1.0, ge=0.001, description="Seconds: the first pause; each further one is twice as long."
    )
    longest_delay: Seconds = Field(60.0, ge=0.001, le=3600, description="Seconds: the longest pause.")

    @field_validator("longest_delay")
    @classmethod
    def _check_longest(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("first_delay", 0):
            raise ValueError("must not be less than first_delay")
        return value


class DeviceThrottle(Slice):
    """Attempts at one account from a browser that has signed in as it before."""

    burst: Whole = Field(
        10, ge=1, le=100000, description="Attempts at one account from a browser it has signed in with."
    )
    every: Seconds = Field(30.0, ge=0.001, description="Seconds after which one of them is forgotten.")


class ThrottleSettings(Slice):
    """Limits of sign-in attempts; docs/users.md says how they work together."""

    enabled: bool = Field(True, description="false: nobody is throttled, for tests of load.")
    address: AddressThrottle = AddressThrottle()
    account_at_address: AccountAtAddressThrottle = AccountAtAddressThrottle()
    account: AccountThrottle = AccountThrottle()
    device: DeviceThrottle = DeviceThrottle()
