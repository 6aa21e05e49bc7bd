import Cluster
import Configuration
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

/// Progress, and evaluations beside the training.
extension WorkerService {
    func note(_ id: StepID, _ lossSums: [Double]) {
        guard let setup, let plan = machine?.plan else { return }
        let samples = lossSums.count * setup.configuration.batch.microBatch
        let loss = samples > 0 ? lossSums.reduce(0, +) / Double(samples) : nil
        progress.update(step: id.step, loss: loss, learningRate: plan.learningRate)
    }

    /// Evaluates every so many steps, beside the training, if the last evaluation is done.
    func installed(_ step: Int, _ parameters: Tensor) {
        guard let setup, step >= 0, rank == 0, setup.configuration.evaluation.every > 0,
            (step + 1) % setup.configuration.evaluation.every == 0, step + 1 < setup.configuration.totalSteps
        else { return }
        guard let evaluator else { return miss(step, "there is nothing to evaluate on") }
        if evaluationIsRunning { return miss(step, "the one before is still under way") }
        evaluationIsRunning = true
        let mailbox = mailbox
        evaluation.submit {
            mailbox.post(
                .evaluated(
                    step: step, Result { try evaluator.evaluate(parameters) }.mapError { Refusal($0) }))
        }
    }

    func report(_ step: Int, _ result: Result<[VerificationReport], Refusal>) {
        evaluationIsRunning = false
        guard let welcome else { return }
        progress.interrupt()
        switch result {
        case .success(let reports):
            for report in reports {
                print("after step \(step): \(report.summary)")
                send(
                    Evaluation(
                        member: welcome.member, incarnation: incarnation, step: step, name: report.name,
                        values: report.figures))
            }
        case .failure(let refusal):
            log.error("evaluation after step \(step): \(refusal.message)")
            miss(step, refusal.message)
        }
    }

    /// Tells the coordinator that there is no evaluation after a step.
    private func miss(_ step: Int, _ problem: String) {
        guard let welcome else { return }
        log.warning("there is no evaluation after step \(step): \(problem)")
        send(
            Evaluation(
                member: welcome.member, incarnation: incarnation, step: step, name: "", values: [:], problem: problem))
    }

    private func send(_ evaluation: Evaluation) {
        switch coordinator.send(.evaluation(evaluation)) {
        case .queued(let request): keep(evaluation, request)
        case .notWelcomed, .full, .closed:
            // Requests are numbered from 1: this one waits like one that was lost.
            keep(evaluation, UInt64.max - UInt64(unacknowledged.count))
        case .unencodable(let error):
            log.error("the evaluation \(evaluation.name) cannot be sent: \(error)")
            if evaluation.problem.isEmpty {
                var missed = evaluation
                (missed.name, missed.values, missed.problem) = ("", [:], "it cannot be sent: \(error)")
                coordinator.send(.evaluation(missed))
            }
        }
    }

    private func keep(_ evaluation: Evaluation, _ request: UInt64) {
        // A coordinator that is away for long is told of the last ones.
        if unacknowledged.count >= 256,
            let oldest = unacknowledged.min(by: { $0.value.evaluation.step < $1.value.evaluation.step })
        {
            unacknowledged[oldest.key] = nil
        }
        unacknowledged[request] = (evaluation, .now + .seconds(2))
    }

    /// The coordinator has taken an evaluation, or will not.
    func noteAnswer(_ message: WireMessage, to request: UInt64) {
        switch message {
        case .acknowledged: unacknowledged[request] = nil
        case .refused(let refusal) where refusal.code != .incarnation && refusal.code != .notWelcomed:
            unacknowledged[request] = nil
        default: break
        }
    }

    /// Sends those again that were not acknowledged.
    func repeatEvaluations() {
        guard let welcome else { return }
        for (request, waiting) in unacknowledged where waiting.sendAgain <= .now {
            unacknowledged[request] = nil
            var evaluation = waiting.evaluation
            evaluation.member = welcome.member
            send(evaluation)
        }
    }
}
