import Cluster
import CoordinatorStore
import Foundation
import Logging
import Monitoring
import OperatorStatus
import ProcessSupport
import StepProtocol
import Wire

/// Evaluations: those that workers make beside the training, and those of the results.
extension CoordinatorService {
    /// How many evaluation sets the status shows: it must fit into a message.
    private static let evaluationLimit = 64

    func take(_ evaluation: Evaluation, _ peer: PeerID, _ request: UInt64) {
        let isMember = machine.isMember(evaluation.member, incarnation: evaluation.incarnation)
        // The worker may know of a commit before this process does.
        guard !isMember || (0...machine.committed + 1).contains(evaluation.step) else {
            let message =
                "an evaluation after step \(evaluation.step), but the last committed one is \(machine.committed)"
            server.refuse(peer, request: request, Refusal(.malformed, message))
            return
        }
        if isMember, evaluation.problem.isEmpty {
            guard evaluations[evaluation.name] != nil || evaluations.count < Self.evaluationLimit else {
                let message = "\(Self.evaluationLimit) evaluation sets are kept, \"\(evaluation.name)\" is one more"
                server.refuse(peer, request: request, Refusal(.tooLarge, message))
                return
            }
            // One that is repeated, because its answer was lost, is known. What is later than the present is from before the run went back.
            let known = evaluations[evaluation.name]?.step ?? -1
            if known < evaluation.step || known > machine.committed + 1 {
                record(evaluation.name, evaluation.step, evaluation.values)
            }
        }
        if isMember { server.send(.acknowledged, to: peer, request: request) }
        perform(
            machine.handle(
                .evaluated(
                    peer, evaluation.member, incarnation: evaluation.incarnation, step: evaluation.step,
                    problem: evaluation.problem.isEmpty ? nil : evaluation.problem), at: now))
    }

    func take(_ done: ResultsDone, _ peer: PeerID) {
        if done.problem.isEmpty, machine.isAskedForResults(done.member, incarnation: done.incarnation, done.id) {
            for (name, values) in done.evaluations.sorted(by: { $0.key < $1.key })
            where evaluations[name] != nil || evaluations.count < Self.evaluationLimit {
                record(name, machine.committed, values)
            }
        }
        perform(
            machine.handle(
                .resultsWritten(
                    peer, done.member, incarnation: done.incarnation, done.id,
                    problem: done.problem.isEmpty ? nil : done.problem), at: now))
    }

    private func record(_ name: String, _ step: Int, _ values: [String: Double]) {
        let figures = values.sorted { $0.key < $1.key }.map { "\($0.key) \(Units.fixed($0.value, 4))" }
        log.info("after step \(step): \(name): \(figures.joined(separator: ", "))")
        let known = ClusterStatus.Evaluation(name: name, step: step, values: values)
        evaluations[name] = known
        monitor?.note(known)
        tensorBoard?.append(known)
        write { try store.keep(.init(name: name, step: step, values: values)) }
        write { try metrics.append(known) }
    }
}

extension ClusterStatus.Evaluation {
    init(_ evaluation: CoordinatorDatabase.Evaluation) {
        self.init(name: evaluation.name, step: evaluation.step, values: evaluation.values)
    }
}
