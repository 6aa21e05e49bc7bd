import Cluster
import CoordinatorStore
import Foundation
import NetworkAddress
import StepProtocol
import Succession
import Wire

/// What is written in one transaction and has to be on the standby's disk too.
enum Written: Codable {
    case decisions([CoordinatorRecord.Decision])
    /// What is fixed when a cluster is made was decided by its first member.
    case cluster(StoredCopy)
}

/// What a coordinator waits with until its standby has what was decided.
enum Held {
    case action(CoordinatorMachine.Action, question: CoordinatorService.Question?, hello: Hello?)
    case reply(OperatorReply, to: PeerID, request: UInt64)
}

typealias StandbyReplication = Replication<Written, Held>

/// A standby's question, as the arguments of the command `replicate`.
struct ReplicationQuestion {
    var question: StandbyReplication.Question
    /// The view in which the one that asks has handed over.
    var granted: CoordinatorView?

    init(question: StandbyReplication.Question, granted: CoordinatorView? = nil) {
        (self.question, self.granted) = (question, granted)
    }

    /// Returns nil for anything else.
    init?(_ arguments: [String: String]) {
        guard let id = arguments["id"].flatMap(UInt64.init), let endpoint = arguments["endpoint"],
            let session = arguments["session"].flatMap(UInt64.init), let have = arguments["have"].flatMap({ Int($0) }),
            have >= 0, Endpoint.problem(of: "its endpoint", endpoint, to: .connect) == nil
        else { return nil }
        question = .init(
            standby: .init(id: id, endpoint: endpoint), session: session, have: have,
            wantsToLead: arguments["lead"] == "true")
        granted = arguments["granted"].flatMap { try? JSONDecoder().decode(CoordinatorView.self, from: Data($0.utf8)) }
    }

    var arguments: [String: String] {
        var arguments = [
            "id": "\(question.standby.id)", "endpoint": question.standby.endpoint, "session": "\(question.session)",
            "have": "\(question.have)",
        ]
        if question.wantsToLead { arguments["lead"] = "true" }
        if let granted, let text = try? JSONEncoder().encode(granted) {
            arguments["granted"] = String(decoding: text, as: UTF8.self)
        }
        return arguments
    }
}

/// The answer to `ReplicationQuestion`, as JSON.
struct ReplicationReply: Codable {
    struct Entry: Codable {
        var number: Int
        var written: Written
    }

    /// Of the coordinator's process.
    var session: UInt64
    /// Everything, and the entry that it is up to.
    var everything: StoredCopy?
    var upTo = 0
    /// What is new.
    var entries: [Entry] = []
    /// The standby is to decide in this view.
    var handedOver: CoordinatorView?

    /// Entries that are sent at a time.
    static let entryLimit = 256

    init(session: UInt64) { self.session = session }

    /// Why nobody can have counted so far; nil if somebody can.
    var problem: String? {
        let numbers = [upTo, handedOver?.number ?? 0] + entries.map(\.number)
        if let number = numbers.first(where: { !(0..<1 << 48).contains($0) }) { return "it has the number \(number)" }
        return zip(entries, entries.dropFirst()).allSatisfy { $0.number + 1 == $1.number }
            ? nil : "its entries do not follow each other"
    }

    var reply: OperatorReply? {
        guard let json = try? JSONEncoder().encode(self) else { return nil }
        return OperatorReply(exitCode: 0, json: String(decoding: json, as: UTF8.self))
    }

    init(json: String) throws { self = try JSONDecoder().decode(Self.self, from: Data(json.utf8)) }
}

/// Which view a coordinator decides in, as the answer to the command `view`.
struct ViewReply: Codable {
    var view: Int
    var leads: Bool
}

extension Hello {
    /// A coordinator that asks another one.
    static func coordinator(_ clusterID: String) -> Hello {
        var hello = Hello(role: .operator, incarnation: 0)
        hello.clusterID = clusterID
        hello.name = coordinatorName
        return hello
    }

    private static var coordinatorName: String { "coordinator" }
    static var promoterName: String { "promote" }

    /// Whether a coordinator that does not decide answers it.
    var isForStandbys: Bool { role == .operator && (name == Self.coordinatorName || name == Self.promoterName) }
}
