internal import Cluster
internal import GRDB

extension CoordinatorDatabase {
    /// The tables. What has parts of its own that nobody asks for by SQL (a task's kind, an operation) is JSON.
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { db in
            try db.execute(
                sql: """
                    CREATE TABLE cluster (
                        only INTEGER PRIMARY KEY CHECK (only = 1),
                        id TEXT NOT NULL,
                        configuration TEXT NOT NULL,
                        origin TEXT,
                        instruction_set TEXT,
                        created TEXT NOT NULL,
                        term INTEGER NOT NULL DEFAULT 0,
                        committed INTEGER NOT NULL DEFAULT -1,
                        map_version INTEGER NOT NULL DEFAULT 0,
                        class_version INTEGER NOT NULL DEFAULT 0,
                        next_shard INTEGER NOT NULL DEFAULT 0,
                        next_worker INTEGER NOT NULL DEFAULT 0,
                        next_task INTEGER NOT NULL DEFAULT 1,
                        is_paused INTEGER NOT NULL DEFAULT 0,
                        is_stopping INTEGER NOT NULL DEFAULT 0,
                        failure TEXT
                    ) STRICT;
                    CREATE TABLE slice (
                        kind TEXT NOT NULL CHECK (kind IN ('centers', 'dense')),
                        number INTEGER NOT NULL,
                        shard INTEGER NOT NULL,
                        PRIMARY KEY (kind, number)
                    ) STRICT, WITHOUT ROWID;
                    CREATE TABLE member (
                        role TEXT NOT NULL CHECK (role IN ('shard', 'worker')),
                        number INTEGER NOT NULL,
                        incarnation INTEGER NOT NULL,
                        endpoint TEXT NOT NULL,
                        is_draining INTEGER NOT NULL,
                        PRIMARY KEY (role, number)
                    ) STRICT, WITHOUT ROWID;
                    CREATE TABLE move (
                        position INTEGER PRIMARY KEY,
                        kind TEXT NOT NULL CHECK (kind IN ('centers', 'dense')),
                        number INTEGER NOT NULL,
                        from_shard INTEGER NOT NULL,
                        to_shard INTEGER NOT NULL
                    ) STRICT;
                    CREATE TABLE task (
                        only INTEGER PRIMARY KEY CHECK (only = 1),
                        number INTEGER NOT NULL,
                        step INTEGER NOT NULL,
                        kind TEXT NOT NULL
                    ) STRICT;
                    CREATE TABLE operation (
                        version INTEGER PRIMARY KEY,
                        operation TEXT NOT NULL,
                        after_step INTEGER
                    ) STRICT;
                    CREATE TABLE checkpoint (
                        position INTEGER PRIMARY KEY,
                        step INTEGER NOT NULL,
                        directory TEXT NOT NULL,
                        class_version INTEGER NOT NULL
                    ) STRICT;
                    CREATE TABLE event (
                        id INTEGER PRIMARY KEY,
                        time REAL NOT NULL,
                        level TEXT NOT NULL,
                        text TEXT NOT NULL
                    ) STRICT;
                    """)
        }
        migrator.registerMigration("2") { db in
            try db.execute(
                sql: """
                    CREATE TABLE learning_rate (
                        position INTEGER PRIMARY KEY,
                        from_step INTEGER,
                        rule TEXT NOT NULL
                    ) STRICT;
                    """)
        }
        migrator.registerMigration("pasts") { db in
            try db.execute(
                sql: """
                    CREATE TABLE past (
                        position INTEGER PRIMARY KEY,
                        name INTEGER NOT NULL,
                        since INTEGER NOT NULL
                    ) STRICT;
                    ALTER TABLE cluster ADD COLUMN safe INTEGER NOT NULL DEFAULT -1;
                    ALTER TABLE checkpoint ADD COLUMN past INTEGER;
                    ALTER TABLE member ADD COLUMN place TEXT NOT NULL DEFAULT '';
                    ALTER TABLE member ADD COLUMN directory INTEGER NOT NULL DEFAULT 0;
                    """)
        }
        migrator.registerMigration("results and evaluations") { db in
            try db.execute(
                sql: """
                    ALTER TABLE cluster ADD COLUMN results_step INTEGER;
                    CREATE TABLE evaluation (
                        name TEXT PRIMARY KEY,
                        step INTEGER NOT NULL,
                        figures TEXT NOT NULL
                    ) STRICT, WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("attempts") { db in
            try db.execute(
                sql: """
                    CREATE TABLE attempt (
                        step INTEGER PRIMARY KEY,
                        term INTEGER NOT NULL,
                        attempt INTEGER NOT NULL
                    ) STRICT;
                    """)
        }
        migrator.registerMigration("paces") { db in
            try db.execute(
                sql: """
                    CREATE TABLE pace (
                        worker INTEGER PRIMARY KEY,
                        seconds REAL NOT NULL
                    ) STRICT;
                    """)
        }
        migrator.registerMigration("head kernels") { db in
            try db.execute(sql: "ALTER TABLE cluster ADD COLUMN least_head_kernels TEXT;")
        }
        migrator.registerMigration("jobs") { db in
            try db.execute(sql: "ALTER TABLE cluster ADD COLUMN jobs TEXT;")
        }
        migrator.registerMigration("keepers") { db in
            try db.execute(
                sql: """
                    CREATE TABLE keeper (
                        kind TEXT NOT NULL,
                        number INTEGER NOT NULL,
                        shard INTEGER NOT NULL,
                        PRIMARY KEY (kind, number)
                    ) STRICT, WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("view") { db in
            try db.execute(
                sql: """
                    ALTER TABLE cluster ADD COLUMN view TEXT;
                    CREATE TABLE pair (
                        only INTEGER PRIMARY KEY CHECK (only = 1),
                        identity INTEGER NOT NULL,
                        follows TEXT,
                        granted TEXT
                    ) STRICT;
                    """)
        }
        migrator.registerMigration("head values") { db in
            try db.execute(
                sql: """
                    CREATE TABLE head_change (
                        position INTEGER PRIMARY KEY,
                        from_step INTEGER,
                        head_order TEXT NOT NULL
                    ) STRICT;
                    """)
        }
        migrator.registerMigration("zones") { db in
            try db.execute(sql: "ALTER TABLE member ADD COLUMN zone TEXT;")
        }
        return migrator
    }
}

extension SliceName {
    /// How the tables name the kind of a slice.
    var kind: String { isDense ? "dense" : "centers" }

    init(kind: String, number: Int) { self = kind == "dense" ? .dense(number) : .centers(number) }
}

extension MemberRole {
    /// How the tables name the role of a member.
    var name: String { self == .shard ? "shard" : "worker" }
}
