import Cluster
import Configuration
import CoordinatorStore
import Foundation
import Model
import Monitoring
import OperatorStatus
import ParameterStore
import Setup
import StepProtocol
import Succession
import Wire

/// The operator's commands.
extension CoordinatorService {
    /// Does what an operator orders, and says what came of it.
    func answer(_ command: OperatorRequest) -> OperatorReply {
        if let reply = look(command) { return reply }
        let arguments = command.arguments
        switch OperatorCommandName(rawValue: command.command) {
        case .pause: return order(.pause)
        case .resume: return order(.resume)
        case .stop: return order(.stop)
        case .set:
            do {
                let assignments = try Assignments(arguments)
                if setup.exchange == .rows, case .fixed(let rate)? = assignments.head?.rules[.sampleRate],
                    let excess = rowMessage.excess(sampleRate: rate)
                {
                    return refusal(excess)
                }
                if let rate = assignments.rate {
                    let reply = order(.learningRate(rate))
                    if reply.exitCode != 0 || assignments.head == nil { return reply }
                }
                return assignments.head.map { order(.head($0)) } ?? json(status)
            } catch { return refusal("\(error)", exitCode: 64) }
        case .checkpoint:
            checkpointProblem = ""
            return order(.checkpoint)
        case .restore:
            do {
                let checkpoint = try arguments["checkpoint"].map(checkpoint)
                return order(
                    .restore(
                        checkpoint: checkpoint?.directory, step: checkpoint?.step, past: checkpoint?.past,
                        classVersion: checkpoint?.classVersion))
            } catch { return refusal("\(error)") }
        case .drain, .undrain, .forget:
            guard let shard = shard(arguments["name"] ?? "") else {
                return refusal("there is no shard \"\(arguments["name"] ?? "")\"; `coordinator shards` lists them")
            }
            switch command.command {
            case "drain": return order(.drain(shard))
            case "undrain": return order(.undrain(shard))
            default: return order(.forget(shard))
            }
        case .rebalance:
            let moves = machine.rebalancePlan().map {
                ClusterStatus.Move(slice: "\($0.slice)", from: "\($0.from)", to: "\($0.to)")
            }
            return arguments["dry_run"] == "true" || moves.isEmpty
                ? json(moves) : order(.rebalance) { self.json(moves) }
        case .classes:
            do {
                let operation = try ClassOrders.operation(arguments, embeddingSize: setup.head.embeddingSize)
                var registry = try setup.classes(after: machine.operations.map(\.operation))
                if let excess = registry.excess(of: operation) { return refusal(excess) }
                try registry.apply(operation)
                return order(.classes(operation)) { self.json(self.classStatus) }
            } catch { return refusal("\(error)") }
        case .cancel: return order(.cancel)
        case .promote: return refusal("this coordinator decides: only its standby can be promoted")
        case .replicate, .view, .status, .history, .slices, .events, .checkpoints, nil:
            let known = OperatorCommandName.allCases.map(\.rawValue).joined(separator: ", ")
            return refusal(
                "unknown command \"\(command.command)\"; this coordinator knows \(known)",
                exitCode: 64)
        }
    }

    /// Answers what only looks, and says of everything else that it must wait.
    func answerWhileBlocked(_ command: OperatorRequest) -> OperatorReply {
        look(command) ?? refusal("not now: \(blocked?.problem ?? "")", exitCode: 75)
    }

    private func look(_ command: OperatorRequest) -> OperatorReply? {
        switch OperatorCommandName(rawValue: command.command) {
        case .status: json(status)
        case .slices: json(slices)
        case .checkpoints: json(checkpoints)
        case .view: json(ViewReply(view: machine.record.view.number, leads: true))
        case .events:
            if let from = command.arguments["from"].flatMap({ Int($0) }) {
                json(events(from: from))
            } else {
                json(events(last: command.arguments["count"].flatMap { Int($0) } ?? 50))
            }
        case .history: json(history(limit: command.arguments["points"].flatMap { Int($0) } ?? ClusterPages.points))
        case .classes where command.arguments["action"] == "list": json(classStatus)
        default: nil
        }
    }

    private func order(_ event: Machine.Event, answer: (() -> OperatorReply)? = nil) -> OperatorReply {
        operatorRefusal = nil
        perform(machine.handle(event, at: now))
        if let operatorRefusal { return refusal(operatorRefusal) }
        if let blocked {
            return refusal("taken, but it cannot be written down yet: \(blocked.problem)", exitCode: 75)
        }
        return answer?() ?? json(status)
    }

    private func json(_ value: some Encodable) -> OperatorReply { OperatorReply(value) }

    private func refusal(_ message: String, exitCode: Int = 65) -> OperatorReply {
        OperatorReply(refusing: message, exitCode: exitCode)
    }

    private func shard(_ name: String) -> MemberID? {
        guard name.hasPrefix("shard-"), let number = Int(name.dropFirst(6)) else { return nil }
        let member = MemberID(.shard, number)
        return machine.status(at: now).members.contains { $0.id == member } ? member : nil
    }

    /// The checkpoint that an operator names by its directory or its step.
    private func checkpoint(_ name: String) throws -> CoordinatorRecord.CheckpointRecord {
        let known = machine.checkpoints
        if let step = Int(name) {
            guard let found = known.last(where: { $0.step == step }) else {
                throw OfflineError("there is no checkpoint of step \(step); `coordinator checkpoints` lists them")
            }
            return found
        }
        let directory = URL(fileURLWithPath: name).standardizedFileURL.path
        if let found = known.last(where: { $0.directory == directory }) { return found }
        let manifest = try CheckpointReader(directory: directory).manifest
        guard manifest.fingerprint == setup.configuration.fingerprint else {
            throw OfflineError("\(directory) is of a run with another configuration; start one with `serve --resume`")
        }
        let registry = try ClassRegistry(
            classCount: setup.head.classCount, sliceCount: setup.head.sliceCount, operationsJSON: manifest.operations)
        guard registry.version == manifest.classVersion, manifest.step < setup.configuration.totalSteps else {
            throw OfflineError(
                "\(directory) is of step \(manifest.step) of \(setup.configuration.totalSteps) and \(manifest.classVersion) operations on the classes, of which it has \(registry.version): it is not what a run wrote"
            )
        }
        guard machine.operations.map(\.operation).starts(with: registry.operations) else {
            throw OfflineError(
                "\(directory) has other operations on the classes than this run; start a run from it with `serve --resume`"
            )
        }
        return CoordinatorRecord.CheckpointRecord(
            step: manifest.step, directory: directory, classVersion: manifest.classVersion, past: manifest.past)
    }

    func events(last count: Int) -> [ClusterEvent] {
        let count = max(1, min(count, 10_000))
        let written = (try? store.events(last: count)) ?? []
        return (written + unwrittenEvents).suffix(count).map(ClusterEvent.init)
    }

    /// Events that an answer to a follower has at most.
    private static let eventChunk = 1000

    /// Those that are written: only they keep their numbers.
    private func events(from id: Int) -> [ClusterEvent] {
        ((try? store.events(from: id, count: Self.eventChunk)) ?? []).map(ClusterEvent.init)
    }

    /// The run step by step; without HTTP what this coordinator has seen last.
    private func history(limit: Int) -> RunHistory {
        let limit = max(1, min(limit, ClusterPages.pointLimit))
        if let monitor { return monitor.history(limit: limit) }
        let configuration = setup.configuration
        var history = StepHistory(totalSteps: configuration.knownSteps, batchSize: configuration.batch.size)
        for report in machine.status(at: now).history { history.append(StepFigures(report)) }
        for evaluation in evaluations.values { history.append(evaluation) }
        return history.history(limit: limit)
    }
}

extension ClusterEvent {
    init(_ event: CoordinatorDatabase.Event) {
        self.init(id: event.id, time: event.time, level: event.level, text: event.text)
    }
}
