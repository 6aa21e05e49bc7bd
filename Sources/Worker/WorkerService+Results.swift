import Cluster
import Configuration
import Foundation
import Logging
import MemberSupport
import Model
import Monitoring
import ProcessSupport
import Setup
import StepProtocol
import Tensors
import Verification
import Wire

/// The results of the run, which this worker writes if the plan asks it to.
extension WorkerService {
    /// What was written.
    struct Results: Sendable {
        /// For people.
        var lines: [String]
        /// Figures by evaluation set.
        var evaluations: [String: [String: Double]]
    }

    /// Says once what this worker has come to.
    func noteBeginning(_ plan: Plan) {
        defer { hasPlan = true }
        guard !hasPlan else { return }
        switch plan.activity {
        case .finished: log.info("the run is finished: its last step is \(plan.committed)")
        case .finishing: log.info("every step is done, the last is step \(plan.committed); the results are due")
        case .failed: break
        case .train, .wait, .task:
            if plan.committed >= 0 { log.info("the run goes on after step \(plan.committed)") }
        }
    }

    /// Evaluates the parameters and writes the files, beside the loop: it may take longer than a lease.
    func writeResults(_ id: StepID, _ committed: Int, _ parameters: Tensor?) {
        guard let setup else { return }
        log.info("writing the results after step \(committed)")
        let (mailbox, evaluator, summary) = (mailbox, evaluator, options.summary)
        evaluation.submit {
            let outcome = Result {
                guard let parameters else {
                    throw Refusal(.internalError, "the parameters after step \(committed) are not there")
                }
                return try ResultFiles(setup: setup, evaluator: evaluator, summary: summary)
                    .write(parameters, after: committed)
            }.mapError { Refusal($0) }
            mailbox.post(.written(id, outcome))
        }
    }

    func noteResults(_ id: StepID, _ outcome: Result<Results, Refusal>) {
        results = (id, outcome)
        progress.interrupt()
        switch outcome {
        case .success(let results):
            for line in results.lines { log.info("\(line)") }
            drive(.resultsWritten(id, problem: nil))
        case .failure(let refusal):
            log.error("the results cannot be written: \(refusal.message)")
            drive(.resultsWritten(id, problem: refusal.message))
        }
    }

    /// Tells the coordinator what came of the results, with their figures.
    func sendResults(_ id: StepID, _ problem: String?) {
        guard let welcome else { return }
        var done = ResultsDone(
            member: welcome.member, incarnation: incarnation, id: id, problem: problem ?? "")
        if problem == nil, let results, results.id == id, case .success(let written) = results.outcome {
            done.evaluations = written.evaluations
        }
        if case .unencodable(let error) = coordinator.send(.resultsDone(done)) {
            // The files are there. What cannot be said of them must not keep the run from ending.
            log.error("the figures cannot be sent: \(error)")
            done.evaluations = [:]
            coordinator.send(.resultsDone(done))
        }
    }
}
