-- What an archive or a registry called the image, and whose an anonymous volume is.

ALTER TABLE images ADD COLUMN manifest_digest TEXT;   -- sha256:…; NULL where there was no manifest

ALTER TABLE volumes ADD COLUMN container TEXT;        -- uid of the container that an anonymous volume was made for; NULL for a named one
ALTER TABLE volumes ADD COLUMN target TEXT;           -- where it is mounted there
