-- What a token is called by beside its name; the ones that are there have none.
ALTER TABLE tokens ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE tokens ADD COLUMN annotations TEXT NOT NULL DEFAULT '{}';
