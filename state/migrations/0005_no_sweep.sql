-- Who was in a full listing is known to the process that reads it; an interrupted one starts anew.
ALTER TABLE member DROP COLUMN sweep;
