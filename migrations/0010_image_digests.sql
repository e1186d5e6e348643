-- What an archive or a registry called the image.

ALTER TABLE images ADD COLUMN manifest_digest TEXT;   -- sha256:…; NULL where there was no manifest
