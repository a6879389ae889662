-- Groups, and accounts that are gone, are few among very many: found without reading everybody.
CREATE INDEX node_group ON node (guid) WHERE kind = 'group';
CREATE INDEX member_removed ON member (member_id) WHERE status = 'removed';

-- Which groups somebody is in, of many.
CREATE INDEX membership_member ON membership (member_id);
