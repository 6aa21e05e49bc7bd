import Cluster
import StepProtocol
import TestSupport
import Testing
import Wire

/// Which key may send what. The table here is another one than the code's.
@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20))) struct PermissionTests {
    private func key(_ role: KeyRole) throws -> AcceptedKey {
        AcceptedKey(
            role: role, name: role.rawValue, key: try KeyPair.random().publicKey,
            bulkKey: try KeyPair.random().publicKey)
    }

    private let allowed: [String: Set<KeyRole>] = [
        "acknowledged": [.shard, .worker, .operator, .reader, .coordinator],
        "read_classes": [.shard, .worker, .operator, .reader, .coordinator],
        "heartbeat": [.shard, .worker], "leave": [.shard, .worker],
        "ready": [.worker], "step_done": [.worker], "step_failed": [.worker], "evaluation": [.worker],
        "results_done": [.worker],
        "step_request": [.worker], "task_done": [.shard], "step_prepared": [.shard], "transfer_request": [.shard],
        "read_rows": [.operator, .reader], "read_slice_hashes": [.operator, .reader],
    ]

    @Test func everyMessageIsForSomeRolesOnly() throws {
        for role in KeyRole.allCases {
            let key = try key(role)
            for message in Samples.all() where message.name != "hello" && message.name != "operator_request" {
                let objection = key.objection(to: message, from: MemberID(.worker, 1))
                #expect(
                    (objection == nil) == (allowed[message.name]?.contains(role) ?? false), "\(role) \(message.name)")
                if let objection, allowed[message.name] != nil { #expect(objection.contains(role.rawValue)) }
            }
        }
        #expect(Set(Samples.all().map(\.name)).isSuperset(of: allowed.keys))
    }

    @Test func aWorkerDoesTasksInItsOwnNameOnly() throws {
        for role in KeyRole.allCases {
            let done = TaskDone(
                member: MemberID(.worker, 1), incarnation: 1, number: 1, outcome: .done(detail: "[]"))
            #expect((try key(role).objection(to: .taskDone(done), from: done.member) == nil) == (role == .worker))
        }
    }

    @Test func helloNeedsTheKeyOfItsRole() throws {
        let roles: [KeyRole: MemberRole] = [
            .shard: .shard, .worker: .worker, .operator: .operator, .reader: .operator,
            .coordinator: .operator,
        ]
        for role in KeyRole.allCases {
            for claimed in [MemberRole.worker, .shard, .operator] {
                let objection = try key(role).objection(to: .hello(Hello(role: claimed, incarnation: 1)), from: nil)
                #expect((objection == nil) == (roles[role] == claimed), "\(role) as \(claimed)")
            }
        }
    }

    private let questions: Set<String> = ["status", "history", "slices", "events", "checkpoints", "view"]

    @Test func onlyAnOperatorChangesAnything() throws {
        let me = MemberID(.shard, 3)
        for name in OperatorCommandName.allCases.map(\.rawValue) + ["something new"] {
            func objection(_ role: KeyRole, _ arguments: [String: String] = [:]) throws -> String? {
                try key(role).objection(
                    to: .operatorRequest(OperatorRequest(command: name, arguments: arguments)), from: me)
            }
            #expect((try objection(.operator) == nil) == (name != "replicate"))
            #expect((try objection(.reader) == nil) == questions.contains(name), "\(name)")
            for role in [KeyRole.worker, .shard] { #expect(try objection(role) != nil, "\(role) \(name)") }
            // A coordinator asks another one who decides, and what.
            #expect((try objection(.coordinator) == nil) == ["replicate", "view"].contains(name), "\(name)")
            // A shard server drains itself, and nobody else.
            let isDrain = name == "drain" || name == "undrain"
            #expect((try objection(.shard, ["name": "shard-3"]) == nil) == isDrain)
            for name in ["shard-4", ""] { #expect(try objection(.shard, ["name": name]) != nil) }
            #expect(try objection(.worker, ["name": "shard-3"]) != nil)
        }
        func readerMay(_ name: String, _ arguments: [String: String]) throws -> Bool {
            try key(.reader).objection(
                to: .operatorRequest(OperatorRequest(command: name, arguments: arguments)), from: nil) == nil
        }
        #expect(try readerMay("classes", ["action": "list"]) && !readerMay("classes", ["action": "add"]))
        #expect(try readerMay("rebalance", ["dry_run": "true"]) && !readerMay("rebalance", ["dry_run": "false"]))
        #expect(try !readerMay("pause", ["dry_run": "true", "action": "list"]))
    }
}
