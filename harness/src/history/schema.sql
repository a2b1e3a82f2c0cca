-- SPDX-License-Identifier: GPL-2.0-only
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    campaign TEXT NOT NULL,
    date TEXT NOT NULL,
    digest TEXT NOT NULL,
    plan TEXT NOT NULL,
    seed TEXT NOT NULL,
    conforming INTEGER NOT NULL,
    new INTEGER NOT NULL,
    known INTEGER NOT NULL,
    not_judged INTEGER NOT NULL,
    cases INTEGER NOT NULL,
    fields INTEGER NOT NULL,
    UNIQUE (campaign, date, digest)
) STRICT;
CREATE TABLE images (
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    title TEXT NOT NULL,
    sha256 TEXT,
    state TEXT NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX images_by_title ON images (title, run);
CREATE TABLE findings (
    run INTEGER NOT NULL,
    number INTEGER NOT NULL,
    rule TEXT NOT NULL,
    place TEXT NOT NULL,
    new INTEGER NOT NULL,
    known INTEGER NOT NULL,
    PRIMARY KEY (run, number, rule),
    FOREIGN KEY (run, number) REFERENCES images (run, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
