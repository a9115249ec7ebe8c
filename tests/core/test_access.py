"""May this user pass?"""

from __future__ import annotations

import pytest

from gateway.core.access import Access, Denied, check_access
from gateway.core.identity import Identity
from tests.core.tables import table


def access(usertypes: str = "", groups: str = "", public: bool = False) -> Access:
    return Access(public, frozenset(usertypes.split()), frozenset(groups.split()))


def user(usertype: str = "", *groups: str) -> Identity:
    return Identity("7", "alice", usertype=usertype, groups=groups)


ASKED = {
    "nothing wanted": (access(), user(), None),
    "nothing wanted of a user who has much": (access(), user("mgr", "sales"), None),
    "usertype fits": (access("mgr"), user("mgr"), None),
    "one of several usertypes": (access("mgr admin"), user("admin"), None),
    "other usertype": (access("mgr"), user("user"), Denied("wrong_usertype", "mgr")),
    "no usertype": (access("mgr"), user(), Denied("wrong_usertype", "mgr")),
    "usertype in other case": (access("mgr"), user("MGR"), Denied("wrong_usertype", "mgr")),
    "part of a usertype": (access("mgr"), user("mg"), Denied("wrong_usertype", "mgr")),
    "a group of that name is no usertype": (access("mgr"), user("", "mgr"), Denied("wrong_usertype", "mgr")),
    "all usertypes wanted are told, sorted": (access("mgr boss"), user("x"), Denied("wrong_usertype", "boss/mgr")),
    "group fits": (access("", "sales"), user("", "hr", "sales"), None),
    "one of several groups": (access("", "sales it"), user("", "it"), None),
    "other group": (access("", "sales"), user("", "hr"), Denied("wrong_group", "sales")),
    "no group": (access("", "sales"), user(), Denied("wrong_group", "sales")),
    "a usertype of that name is no group": (access("", "sales"), user("sales"), Denied("wrong_group", "sales")),
    "letters of a group are no groups": (access("", "s"), user("", "sales"), Denied("wrong_group", "s")),
    "all groups wanted are told, sorted": (access("", "sales it"), user(), Denied("wrong_group", "it/sales")),
    "both fit": (access("mgr", "sales"), user("mgr", "sales"), None),
    "usertype fits, group does not": (access("mgr", "sales"), user("mgr"), Denied("wrong_group", "sales")),
    "group fits, usertype does not": (access("mgr", "sales"), user("x", "sales"), Denied("wrong_usertype", "mgr")),
}


@pytest.mark.parametrize(("rule", "who", "answer"), table(ASKED))
def test_a_user_passes_when_all_that_is_named_fits(rule: Access, who: Identity, answer: Denied | None) -> None:
    assert check_access(rule, who) == answer
