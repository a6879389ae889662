-- What an undo wants of groups.
CREATE TABLE group_pin (
    group_guid TEXT NOT NULL,
    guid TEXT NOT NULL,              -- the person's for a membership, else the group's own
    kind TEXT NOT NULL,              -- the action that undoes
    name TEXT NOT NULL,              -- of a renaming, the name to go back to
    was TEXT NOT NULL,               -- what the directory said then: the pin holds while it says so
    reason TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (group_guid, guid)
) WITHOUT ROWID;
