import ArgumentParser
import ClusterKeys
import Foundation
import ProcessSupport
import Wire

/// `coordinator keys`.
struct Keys: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make, list and revoke the keys of a cluster.",
        discussion: """
            A key set is a directory with a directory for every holder. Give every process the directory of its holder (--keys, \
            PARTIALFC_KEYS), and keep the set itself where only you can read it. Needs no running cluster. Exit code 66 if the \
            set cannot be used. docs/security.md says what keys protect.
            """,
        subcommands: [New.self, Add.self, Revoke.self, List.self])

    /// `coordinator keys new`.
    struct New: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a key set: for a coordinator, shard servers, workers, an operator and a reader.")
        @Argument(help: "The directory to make.", completion: .directory) var directory: String

        func run() throws {
            try offline {
                for holder in try KeySet.make(directory).holders() {
                    print("\(holder.directory): \(holder.role.purpose)")
                }
            }
        }
    }

    /// `coordinator keys add`.
    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a key for one more holder.",
            discussion: """
                A key of its own for every machine or person can be revoked without the others. Running servers accept it as soon as their \
                copy of accepted-keys says so.
                """)
        @Argument(help: "The directory of the key set.", completion: .directory) var directory: String
        @Option(help: "What the holder may be: shard-server, worker, operator or reader.") var role: KeyRole
        @Option(help: "The holder's name: small letters, digits and hyphens.") var name: String

        func run() throws {
            try offline {
                let (made, changed) = try KeySet(directory).add(role, name: name)
                print("\(made): \(role.purpose)")
                Keys.sayChanged(changed)
            }
        }
    }

    /// `coordinator keys revoke`.
    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let servers accept a holder no more, and remove its key.",
            discussion:
                "Running servers cut a revoked holder off within a second after their copy of accepted-keys has changed."
        )
        @Argument(help: "The directory of the key set.", completion: .directory) var directory: String
        @Argument(help: "The holder's name.") var name: String

        func run() throws {
            try offline {
                let (role, changed) = try KeySet(directory).revoke(name)
                print("\(name) is revoked")
                Keys.sayChanged(changed)
                if role == .shard {
                    print(
                        "It still has the secret by which clients know shard servers. If that may have been stolen, make a new key set."
                    )
                }
            }
        }
    }

    /// `coordinator keys list`.
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the holders of a key set and their public keys.")
        @Argument(help: "The directory of the key set.", completion: .directory) var directory: String
        @Flag(help: "Print JSON.") var json = false

        /// The JSON that it prints is a list of these.
        private struct Answer: Encodable {
            var name: String
            var role: String
            var publicKey: String
            var accepted: Bool?
            var directory: String
        }

        func run() throws {
            try offline {
                let holders = try KeySet(directory).holders()
                if json {
                    let answers = holders.map {
                        Answer(
                            name: $0.name, role: $0.role.rawValue, publicKey: $0.key?.text ?? "",
                            accepted: $0.isAccepted, directory: $0.directory)
                    }
                    try StatusJSON.print(answers)
                    return
                }
                var table = TextTable(["name", "role", "public key", "accepted"])
                for holder in holders {
                    let accepted = holder.isAccepted.map { $0 ? "yes" : "no" } ?? "–"
                    table.add([holder.name, holder.role.rawValue, holder.key?.text ?? "", accepted])
                }
                print(table.render())
            }
        }
    }

    private static func sayChanged(_ files: [String]) {
        print("Changed; where servers have a copy, copy it there:")
        for file in files { print("  \(file)") }
    }
}

extension KeyRole {
    /// What a holder may do.
    fileprivate var purpose: String {
        switch self {
        case .coordinator: "for `coordinator serve`"
        case .shard: "for shard servers"
        case .worker: "for workers"
        case .operator: "for whoever gives commands"
        case .reader: "for whoever may ask, but change nothing"
        }
    }
}
