"""The customer list: what a valid customer is, and the rows in memory. No HTTP in here."""

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

MAX_CUSTOMERS = 1_000
MAX_FIELD_CHARS = 200
FIELDS = ("name", "phonenumber", "address")


class CustomerError(Exception):
    """Why the list refuses; ``str()`` is written for the user, ``status`` is the HTTP status."""

    status: ClassVar[int] = 400


class InvalidCustomerError(CustomerError):
    """The body is no valid customer."""


class UnknownCustomerError(CustomerError):
    """There is no such customer."""

    status = 404


class ListFullError(CustomerError):
    """The list holds MAX_CUSTOMERS rows already."""

    status = 409


class BodyTooLargeError(CustomerError):
    """The body is longer than the server collects."""

    status = 413


@dataclass(frozen=True)
class Customer:
    """One customer without an id; each field has at most MAX_FIELD_CHARS characters, the name at least one."""

    name: str
    phonenumber: str
    address: str


def parse_customer(body: bytes) -> Customer:
    """Return the customer in a JSON body; unknown fields are ignored, outer blanks removed.

    Raises InvalidCustomerError for bad JSON, a missing field, a wrong type, an empty name or too long a text.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as problem:  # RecursionError: "[[[[…" nested deeper than Python's stack
        raise InvalidCustomerError("the body is not valid JSON") from problem
    if not isinstance(values, dict):
        raise InvalidCustomerError("the body must be a JSON object")
    customer = Customer(**{field: _text(values, field) for field in FIELDS})
    if not customer.name:
        raise InvalidCustomerError("name must not be empty")
    return customer


def _text(values: dict[str, Any], field: str) -> str:
    if field not in values:
        raise InvalidCustomerError(f"{field} is missing")
    value = values[field]
    if not isinstance(value, str):
        raise InvalidCustomerError(f"{field} must be a text")
    if len(value) > MAX_FIELD_CHARS:
        raise InvalidCustomerError(f"{field} is longer than {MAX_FIELD_CHARS} characters")
    return value.strip()


class Customers:
    """The rows by id, oldest first. Ids start at 1 and are never given twice."""

    def __init__(self) -> None:
        self._rows: dict[int, Customer] = {}
        self._last_id = 0

    @classmethod
    def seeded(cls) -> "Customers":
        """Return a list with a few customers to begin with."""
        customers = cls()
        for row in _SEED:
            customers.add(row)
        return customers

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows as ``{id, name, phonenumber, address}``."""
        return [{"id": key, **asdict(customer)} for key, customer in self._rows.items()]

    def add(self, customer: Customer) -> int:
        """Append a customer and return its id. Raises ListFullError."""
        if len(self._rows) >= MAX_CUSTOMERS:
            raise ListFullError(f"the list is full ({MAX_CUSTOMERS:,} customers)")
        self._last_id += 1
        self._rows[self._last_id] = customer
        return self._last_id

    def replace(self, key: int, customer: Customer) -> None:
        """Overwrite all fields of one row. Raises UnknownCustomerError."""
        self.require_known(key)
        self._rows[key] = customer

    def delete(self, key: int) -> None:
        """Remove one row. Raises UnknownCustomerError."""
        self.require_known(key)
        del self._rows[key]

    def require_known(self, key: int) -> None:
        """Raise UnknownCustomerError unless there is a row with this id."""
        if key not in self._rows:
            raise UnknownCustomerError("there is no such customer")


_SEED = (
    Customer("Harbour Books", "020 7946 0018", "12 Quay Street, Bristol"),
    Customer("Café Müller & Söhne", "030 23125 014", "Lindenallee 4, Berlin"),
    Customer("小王文具店", "021 5550 0142", "上海市静安区南京西路 88 号"),
    Customer("O'Neill Plumbing", "01 496 0733", "3 Mill Lane, Dublin"),
)
