-- The journal's schema after all migrations; a test holds that the migrations lead exactly here.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Where the reading of the directory stands; written in the transaction of the deltas that it covers.
CREATE TABLE checkpoint (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    source TEXT NOT NULL,
    server TEXT NOT NULL,
    ds_service TEXT NOT NULL,
    invocation_id TEXT NOT NULL,
    profile TEXT NOT NULL,
    cookie BLOB NOT NULL,
    usn INTEGER NOT NULL,
    at TEXT NOT NULL
);

-- The change log: append-only. What `journal export`, `replay` and `explain` read.
CREATE TABLE log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,              -- delta | action | pass | alert | member | link
    guid TEXT NOT NULL DEFAULT '',
    email TEXT NOT NULL DEFAULT '',
    action TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT '',
    cause TEXT NOT NULL DEFAULT '',
    pass_id INTEGER,
    detail TEXT NOT NULL DEFAULT '{}',
    chain TEXT NOT NULL              -- hash over this line and the chain of the one before: a hole or a change shows
);
CREATE INDEX log_guid ON log (guid, seq) WHERE guid <> '';
CREATE INDEX log_email ON log (email, seq) WHERE email <> '';

-- The mirror: scope, groups, and every linked person, also after leaving.
CREATE TABLE node (
    guid TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    live INTEGER NOT NULL,           -- 0: a tombstone proved its deletion
    seen INTEGER NOT NULL,           -- 0: the account could not read it at the last look
    dn TEXT NOT NULL,
    name TEXT NOT NULL,
    sid TEXT NOT NULL,
    sam TEXT NOT NULL,
    email TEXT NOT NULL,             -- as in the directory
    email_key TEXT NOT NULL,         -- lower case, '' when there is none
    given_name TEXT NOT NULL,
    surname TEXT NOT NULL,
    display_name TEXT NOT NULL,
    disabled INTEGER NOT NULL,
    expires TEXT,
    primary_rid INTEGER,
    listed INTEGER NOT NULL DEFAULT 0,
    first_listed_at TEXT,
    left_at TEXT,
    left_how TEXT NOT NULL DEFAULT '',   -- edge: a removed link was seen | absent: missing in a full read
    left_confirmed INTEGER NOT NULL DEFAULT 0,
    left_cause TEXT NOT NULL DEFAULT '',
    deleted_at TEXT,
    died_excluded INTEGER NOT NULL DEFAULT 0  -- the exclusion group held them when they were deleted
) WITHOUT ROWID;
CREATE INDEX node_email ON node (email_key) WHERE email_key <> '';
CREATE INDEX node_group ON node (guid) WHERE kind = 'group';
CREATE INDEX node_left ON node (left_at) WHERE left_at IS NOT NULL;
CREATE INDEX node_expires ON node (expires) WHERE expires IS NOT NULL;

CREATE TABLE edge (
    parent TEXT NOT NULL,
    child TEXT NOT NULL,
    is_primary INTEGER NOT NULL,     -- 1: by primaryGroupID
    PRIMARY KEY (parent, child, is_primary)
) WITHOUT ROWID;
CREATE INDEX edge_child ON edge (child);

-- Persons to decide about. `mark` grows with every new reason, so that a mark set while deciding survives.
CREATE TABLE dirty (
    guid TEXT PRIMARY KEY,
    mark INTEGER NOT NULL,
    cause TEXT NOT NULL,             -- delta | comparison | drift | timer | action | retry
    seen_at TEXT NOT NULL
) WITHOUT ROWID;

-- Moments at which the answer about a person changes without any event (expiry, grace, welcome mail).
CREATE TABLE timer (
    guid TEXT PRIMARY KEY,
    due TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX dirty_order ON dirty (seen_at, guid);
CREATE INDEX timer_due ON timer (due);

-- What the last decision about somebody found worth telling; replaced by the next decision about them.
CREATE TABLE note (
    guid TEXT NOT NULL,
    kind TEXT NOT NULL,
    label TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (guid, kind)
) WITHOUT ROWID;

-- The team as last told, unmanaged members included.
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

CREATE TABLE link (
    guid TEXT PRIMARY KEY,
    member_id TEXT NOT NULL UNIQUE,
    how TEXT NOT NULL,               -- invited | external_id | legacy | email | approved
    at TEXT NOT NULL,
    old_external_id TEXT NOT NULL DEFAULT '',
    suspended_by_us INTEGER NOT NULL DEFAULT 0,
    welcomes INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- The outbox: intended writes, written ahead. States: pipeline/core/transitions.py
CREATE TABLE action (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    guid TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    email TEXT NOT NULL,
    member_id TEXT NOT NULL,
    changes TEXT NOT NULL,
    reason TEXT NOT NULL,
    cause TEXT NOT NULL,
    pass_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    released INTEGER NOT NULL DEFAULT 0,   -- 1: the brake has let it pass
    approved INTEGER NOT NULL DEFAULT 0,
    after_id INTEGER,                      -- to be sent only when that action is no longer open
    attempts INTEGER NOT NULL DEFAULT 0,
    wait TEXT,
    due TEXT,
    job_id TEXT NOT NULL DEFAULT '',
    precondition TEXT NOT NULL DEFAULT '',
    before TEXT NOT NULL DEFAULT '{}',     -- what the member showed when it was decided: what `undo` goes back to
    error TEXT NOT NULL DEFAULT '',
    hint TEXT NOT NULL DEFAULT '',
    seen_at TEXT,
    planned_at TEXT NOT NULL,
    sent_at TEXT,
    settled_at TEXT,
    group_guid TEXT NOT NULL DEFAULT '',   -- the directory group's GUID where the write is about a group
    group_id TEXT NOT NULL DEFAULT '',
    group_name TEXT NOT NULL DEFAULT ''
);
CREATE INDEX action_group ON action (group_guid, id) WHERE group_guid <> '';
CREATE INDEX action_open ON action (state, kind, due) WHERE state NOT IN ('done', 'superseded');
CREATE INDEX action_ready ON action (ordinal, id) WHERE state = 'planned' AND released = 1;
CREATE INDEX action_guid ON action (guid, id);
CREATE INDEX action_sent ON action (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX action_pass ON action (pass_id);

-- Persons whose last actions were undone: left as they are until the directory changes them.
CREATE TABLE pin (
    guid TEXT PRIMARY KEY,
    kind TEXT NOT NULL,              -- the action that undoes, '' when there is none
    changes TEXT NOT NULL,
    reason TEXT NOT NULL,
    at TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE held_set (
    hash TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    at TEXT NOT NULL,
    wanted INTEGER NOT NULL,
    limit_text TEXT NOT NULL,
    clusters TEXT NOT NULL,
    items TEXT NOT NULL,             -- the (guid, kind) pairs that were shown
    approved_at TEXT
) WITHOUT ROWID;

CREATE TABLE alert (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    severity TEXT NOT NULL,
    title TEXT NOT NULL,
    lines TEXT NOT NULL,
    remedy TEXT NOT NULL,
    first_at TEXT NOT NULL,
    last_seen_at TEXT NOT NULL,
    last_sent_at TEXT,
    count INTEGER NOT NULL,
    is_open INTEGER NOT NULL
) WITHOUT ROWID;

-- Mails to send, each with a stable Message-ID.
CREATE TABLE mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT NOT NULL UNIQUE,
    alerts TEXT NOT NULL,
    over TEXT NOT NULL,
    simulated INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due TEXT NOT NULL,
    sent_at TEXT,
    error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX mail_due ON mail (due) WHERE sent_at IS NULL;

CREATE TABLE pass (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    started TEXT NOT NULL,
    ended TEXT,
    exit_code INTEGER,
    simulated INTEGER NOT NULL,
    is_full INTEGER NOT NULL,
    actions TEXT NOT NULL DEFAULT '{}'
);

-- Groups: the team's as last told, which of them belongs to which directory group, and who is in those.
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
CREATE INDEX membership_member ON membership (member_id);

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
