"""Change notification (control 528, MS-ADTS 3.1.1.3.4.1.9): a search that stays open and tells of changes."""

from collections.abc import Callable

from sandbox.windows_ldap.codes import Code, Refused
from sandbox.windows_ldap.controls import Controls
from sandbox.windows_ldap.filters import Present
from sandbox.windows_ldap.protocol import BASE, ONE_LEVEL, Search
from sandbox.windows_ldap.record import Record
from sandbox.windows_ldap.rendering import Rendering
from sandbox.windows_ldap.searching import base_of, style_of
from sandbox.windows_ldap.sight import Sight


class Watch:
    """Tells the whole requested attribute set on any change; deletions as well, whether or not SHOW_DELETED was sent."""

    def __init__(
        self, sight: Sight, request: Search, controls: Controls, number: int, tell: Callable[[bytes], None]
    ) -> None:
        """Refused(53) for any filter but `(objectclass=*)`."""
        wanted = request.filter
        if not isinstance(wanted, Present) or wanted.attribute.lower() != "objectclass":
            raise Refused(
                Code.UNWILLING, "00002035: LdapErr: DSID-0C0906C8, comment: only (objectclass=*), data 0"
            )
        self._sight = sight
        self._scope = request.scope
        self._base = base_of(sight, request.base, controls)
        self._style = style_of(controls, b"")
        self._wanted = request.attributes
        self._number = number
        self._tell = tell
        sight.replica.listeners.append(self._changed)

    def end(self) -> None:
        if self._changed in self._sight.replica.listeners:
            self._sight.replica.listeners.remove(self._changed)

    def _changed(self, record: Record) -> None:
        sight = self._sight.afresh()
        if not record.phantom and self._covers(record) and sight.sees(record):
            rendering = Rendering(sight, self._style, self._wanted)
            self._tell(rendering.entry(record).encode(self._number))

    def _covers(self, record: Record) -> bool:
        if self._scope == BASE:
            return record.guid == self._base.guid
        if self._scope == ONE_LEVEL:
            return record.parent == self._base.guid
        return any(above.guid == self._base.guid for above in self._sight.replica.lineage(record.guid))
