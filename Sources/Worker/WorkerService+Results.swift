import Backbone
import Foundation
import Logging
import MemberSupport
import Monitoring
import ProcessSupport
import RunConfiguration
import RunSetup
import StepProtocol
import Tensors
import Verification
import Wire

/// Progress, evaluations, and the end of the run.
extension WorkerService {
    func note(_ id: StepID, _ lossSums: [Double]) {
        guard let setup, let plan = machine?.plan else { return }
        let samples = lossSums.count * setup.configuration.batch.microBatch
        let loss = samples > 0 ? lossSums.reduce(0, +) / Double(samples) : nil
        progress.update(step: id.step, loss: loss, learningRate: plan.learningRate)
    }

    /// Evaluates every so many steps, beside the training, if the last evaluation is done.
    func installed(_ step: Int, _ parameters: Tensor) {
        newest = (step, parameters)
        guard let setup, let evaluator, step >= 0, rank == 0, setup.configuration.evaluation.every > 0,
            !evaluationIsRunning,
            (step + 1) % setup.configuration.evaluation.every == 0, step + 1 < setup.configuration.totalSteps
        else { return }
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
                print("after step \(step + 1): \(report.summary)")
                coordinator.send(
                    .evaluation(
                        Evaluation(
                            member: welcome.member, incarnation: incarnation, step: step, name: report.name,
                            values: report.figures)))
            }
        case .failure(let refusal): log.error("evaluation after step \(step): \(refusal.message)")
        }
    }

    /// The end of the run: rank 0 evaluates once more and writes the backbone.
    ///
    /// - Returns: the exit code.
    func finish(_ committed: Int) -> Int32 {
        // What the last step installed may still be on its way from the compute thread, and the last evaluation beside the training
        // under way: the evaluator does one at a time.
        while rank == 0, evaluationIsRunning || newest.map({ $0.step < committed }) ?? true,
            let event = mailbox.next(within: .seconds(evaluationIsRunning ? 3600 : 10))
        {
            switch event {
            case .installed(let step, let parameters): newest = (step, parameters)
            case .evaluated(let step, let result): report(step, result)
            default: break
            }
        }
        guard let setup, rank == 0, committed >= 0, !setup.backbone.isIdentity else { return 0 }
        health.hold("the run is finished: evaluating, and writing the backbone")
        guard let newest, newest.step == committed else {
            log.error("the parameters after step \(committed) did not arrive; no backbone is written")
            return 74
        }
        let output = setup.configuration.output
        do {
            try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
            let file = "\(output)/backbone.safetensors"
            try BackboneFile.write(
                newest.parameters, layout: setup.layout, to: file, metadata: ["step": "\(committed)"])
            var lines = ["backbone: \(file)"]
            if let evaluator {
                let reports = try evaluator.evaluate(newest.parameters)
                let picture = "\(output)/roc.png"
                try ROCPlot.write(reports, to: picture)
                report(committed, .success(reports))
                awaitAcknowledgements(reports.count)
                lines = reports.map(\.summary) + ["ROC: \(picture)"] + lines
            }
            let text = lines.joined(separator: "\n")
            if let summary = options.summary {
                try (text + "\n").write(toFile: summary, atomically: true, encoding: .utf8)
            }
            log.info("finished; \(lines.joined(separator: "; "))")
            return 0
        } catch {
            log.error("\(error)")
            return 74
        }
    }

    /// Waits up to a second until the coordinator has taken `count` evaluations: then this process may go.
    private func awaitAcknowledgements(_ count: Int) {
        let deadline = ContinuousClock.now + .seconds(1)
        var open = count
        while open > 0, let event = mailbox.next(until: deadline) {
            if case .coordinator(.received(_, .acknowledged)) = event { open -= 1 }
        }
    }
}
