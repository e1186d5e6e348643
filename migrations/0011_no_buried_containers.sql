-- A container's row goes with the last of it, and its name with the row: none was ever gone for users alone.
DROP INDEX containers_name;
ALTER TABLE containers DROP COLUMN buried;
CREATE UNIQUE INDEX containers_name ON containers (name);
