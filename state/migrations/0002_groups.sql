-- Groups: the team's as last told, which of them belongs to which directory group, who is in those, and writes about them.

CREATE TABLE team_group (
    group_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    external_id TEXT NOT NULL,
    is_company_managed INTEGER NOT NULL,
    is_system_managed INTEGER NOT NULL,
    member_count INTEGER
) WITHOUT ROWID;

CREATE TABLE group_link (
    guid TEXT PRIMARY KEY,
    group_id TEXT NOT NULL UNIQUE,
    how TEXT NOT NULL,               -- created | external_id | legacy | name
    at TEXT NOT NULL,
    name TEXT NOT NULL,              -- of the directory group, for when it is gone
    doubted INTEGER NOT NULL DEFAULT 0   -- 1: somebody may have changed it in Dropbox; read before it is decided about
) WITHOUT ROWID;

-- The members of linked groups, so that one more person costs one request and no list.
CREATE TABLE membership (
    group_id TEXT NOT NULL,
    member_id TEXT NOT NULL,
    PRIMARY KEY (group_id, member_id)
) WITHOUT ROWID;

ALTER TABLE action ADD COLUMN group_guid TEXT NOT NULL DEFAULT '';
ALTER TABLE action ADD COLUMN group_id TEXT NOT NULL DEFAULT '';
ALTER TABLE action ADD COLUMN group_name TEXT NOT NULL DEFAULT '';
CREATE INDEX action_group ON action (group_guid, id) WHERE group_guid <> '';
