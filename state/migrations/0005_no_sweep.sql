-- Who was in a full listing is known to the process that reads it; an interrupted one starts anew.
-- By a new table: SQLite before 3.35, which some systems with Python 3.11 have, can't drop a column.
ALTER TABLE member RENAME TO member_with_sweep;
DROP INDEX member_removed;
DROP INDEX member_email;
DROP INDEX member_external;
CREATE TABLE member (
    member_id TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    email TEXT NOT NULL,
    given_name TEXT NOT NULL,
    surname TEXT NOT NULL,
    external_id TEXT NOT NULL,
    recoverable INTEGER NOT NULL,
    is_team_admin INTEGER NOT NULL,
    invited_on TEXT,
    joined_on TEXT
) WITHOUT ROWID;
CREATE INDEX member_removed ON member (member_id) WHERE status = 'removed';
CREATE INDEX member_email ON member (email);
CREATE INDEX member_external ON member (external_id) WHERE external_id <> '';
INSERT INTO member
SELECT member_id, status, email, given_name, surname, external_id, recoverable, is_team_admin, invited_on, joined_on
FROM member_with_sweep;
DROP TABLE member_with_sweep;
