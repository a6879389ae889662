"""Result codes of LDAP (RFC 4511, 4.1.9), and the exception that carries one."""

from enum import IntEnum


class Code(IntEnum):
    SUCCESS = 0
    OPERATIONS_ERROR = 1
    PROTOCOL_ERROR = 2
    TIME_LIMIT = 3
    SIZE_LIMIT = 4
    AUTH_METHOD = 7
    STRONGER_AUTH = 8
    REFERRAL = 10
    ADMIN_LIMIT = 11
    UNAVAILABLE_CRITICAL_EXTENSION = 12
    NO_SUCH_OBJECT = 32
    INVALID_DN = 34
    INVALID_CREDENTIALS = 49
    INSUFFICIENT_RIGHTS = 50
    BUSY = 51
    UNAVAILABLE = 52
    UNWILLING = 53


class Refused(Exception):
    """Ends an operation with a result code other than success."""

    def __init__(
        self, code: int, message: str = "", *, matched: str = "", referrals: tuple[str, ...] = ()
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.matched = matched
        self.referrals = referrals
