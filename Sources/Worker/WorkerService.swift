import Backbone
import Foundation
import Logging
import MemberSupport
import PartialFC
import ProcessSupport
import RunConfiguration
import RunSetup
import StepProtocol
import Tensors
import Verification
import Wire

/// The shell around the worker's state machine: one thread takes events, another computes, a third evaluates.
final class WorkerService: MemberService, @unchecked Sendable {
    typealias Machine = WorkerMachine<[Tensor]>

    /// What the command line says.
    struct Options {
        var member: MemberOptions
        var data: String?
        var record: String?
        var summary: String?
    }

    /// What the loop waits for.
    enum Event: Sendable {
        case coordinator(ClientEvent)
        case shard(MemberID, ClientEvent)
        case computed(StepID, WorkerResult<[Tensor]>)
        case failed(StepID, WorkerTask, Refusal)
        /// The parameters after a step, to evaluate.
        case installed(committed: Int, Tensor)
        case evaluated(step: Int, Result<[VerificationReport], Refusal>)
        case stop(String)
    }

    private let options: Options
    private let log: Logger
    private let mailbox = Mailbox<Event>()
    private let io: IOThread
    private let coordinator: ClientConnection
    private let compute = ComputeThread(name: "compute")
    private let evaluation = ComputeThread(name: "evaluation")
    private let origin = ContinuousClock.now
    private var hello: Hello

    private var welcome: Welcome?
    private var setup: RunSetup?
    private var machine: Machine?
    private var model: Shared<WorkerModel>?
    private var evaluator: Evaluator?
    private var evaluationIsRunning = false
    private var shards: [MemberID: ClientConnection] = [:]
    /// Requests that wait for the handshake with a shard.
    private var unsent: [MemberID: [StepRequest<[Tensor]>]] = [:]
    private var progress = ProgressLine(totalSteps: 0, batchSize: 0)
    private var rank: Int?
    /// The newest parameters and the step they come after.
    private var newest: (step: Int, parameters: Tensor)?
    private var nextHeartbeat = ContinuousClock.now
    private var exitCode: Int32 = 0

    /// Lets the compute thread use what only it touches.
    private final class Shared<Value>: @unchecked Sendable {
        let value: Value
        init(_ value: Value) { self.value = value }
    }

    /// - Throws: `WireError` if the coordinator's endpoint is not one.
    init(options: Options, log: Logger) throws {
        self.options = options
        self.log = log
        io = try IOThread()
        hello = .thisProcess(role: .worker, name: options.member.name, threads: options.member.threads)
        coordinator = try ClientConnection(
            connect: options.member.coordinator, hello: hello, thread: io, events: mailbox.sink { .coordinator($0) })
        log.info("joining \(options.member.coordinator)")
    }

    /// Makes `run` return. From any thread.
    func stop(_ reason: String) { mailbox.post(.stop(reason)) }

    /// Trains until the run ends, `stop`, or the coordinator refuses this worker.
    ///
    /// - Returns: the exit code.
    func run() -> Int32 {
        defer {
            compute.close()
            evaluation.close()
            for connection in shards.values { connection.close() }
            coordinator.close()
            io.close()
        }
        while true {
            let due = machine?.nextDeadline.map { origin + $0 } ?? nextHeartbeat
            let event = mailbox.next(until: min(due, nextHeartbeat))
            if ContinuousClock.now >= nextHeartbeat { beat() }
            if ContinuousClock.now >= due { drive(.tick) }
            guard let event else { continue }
            if !handle(event) { return exitCode }
        }
    }

    private var incarnation: UInt64 { hello.incarnation }
    private var now: Duration { ContinuousClock.now - origin }

    /// Returns false when the service ends.
    private func handle(_ event: Event) -> Bool {
        switch event {
        case .coordinator(.welcomed(let welcome)): return join(welcome)
        case .coordinator(.refused(let refusal)):
            log.error("the coordinator refused this worker: \(refusal.message)")
            return end(77)
        case .coordinator(.unanswered(let endpoint)):
            log.warning("no answer from the coordinator at \(endpoint); trying on")
        case .coordinator(.received(_, let message)): return receive(message)
        case .shard(let shard, .received(_, .stepReply(let reply))): drive(.reply(shard, reply))
        case .shard(let shard, .received(_, .refused(let refusal))):
            log.warning("\(shard) refused a message: \(refusal.message)")
        case .shard(let shard, .refused(let refusal)): retry(shard, after: refusal)
        case .shard(let shard, .unanswered(let endpoint)):
            log.warning("no answer from \(shard) at \(endpoint); trying on")
        case .shard(let shard, .welcomed): flush(shard)
        case .shard: break
        case .computed(let id, let result):
            if case .softmax(_, let lossSums) = result { note(id, lossSums) }
            drive(.computed(id, result))
        case .failed(let id, let task, let refusal):
            log.error("\(id), \(task): \(refusal.message)")
            drive(.failed(id, task, code: refusal.code, message: refusal.message))
        case .installed(let step, let parameters): installed(step, parameters)
        case .evaluated(let step, let result): report(step, result)
        case .stop(let reason):
            progress.interrupt()
            log.info("stopping: \(reason)")
            leave(reason)
            return end(0)
        }
        return true
    }

    private func end(_ code: Int32) -> Bool {
        exitCode = code
        return false
    }

    // MARK: The coordinator

    private func join(_ welcome: Welcome) -> Bool {
        if let known = self.welcome, known.clusterID != welcome.clusterID {
            log.error("the coordinator now runs cluster \(welcome.clusterID), this worker trained \(known.clusterID)")
            return end(70)
        }
        if setup == nil {
            do { try prepare(welcome) } catch {
                log.error("\(error)")
                leave("\(error)")
                return end(78)
            }
        }
        if machine?.member != welcome.member { machine = Machine(member: welcome.member, empty: []) }
        self.welcome = welcome
        hello.clusterID = welcome.clusterID
        coordinator.update(hello)
        log.info("joined cluster \(welcome.clusterID) as \(welcome.member)")
        beat()
        drive(.tick)
        return true
    }

    /// Opens the data and builds the network.
    private func prepare(_ welcome: Welcome) throws {
        self.welcome = welcome
        var configuration = try RunConfiguration(yaml: welcome.configuration)
        if let data = options.data { configuration.data.path = data }
        let setup = try RunSetup(configuration)
        let data = try TrainingData(configuration)
        for problem in data.problems.prefix(10) { log.warning("left out: \(problem)") }
        if data.problems.count > 10 { log.warning("\(data.problems.count) samples were left out in all") }
        model = Shared(
            try WorkerModel(setup: setup, data: data, threads: options.member.threads, record: options.record))
        if !setup.backbone.isIdentity {
            let evaluator = try Evaluator(setup: setup, data: data, threads: options.member.threads)
            if !evaluator.sets.isEmpty { self.evaluator = evaluator }
        }
        progress = ProgressLine(totalSteps: configuration.totalSteps, batchSize: configuration.batch.size)
        self.setup = setup
    }

    private func receive(_ message: WireMessage) -> Bool {
        switch message {
        case .plan(let plan): return follow(plan)
        case .refused(let refusal):
            log.warning("the coordinator refused a message: \(refusal.message)")
            // It took us for dead, or was restarted: join again, under another number.
            if refusal.code == .incarnation || refusal.code == .notWelcomed { coordinator.greet(hello) }
        default: break
        }
        return true
    }

    private func follow(_ plan: Plan) -> Bool {
        if let misfit = setup?.misfit(of: plan) {
            log.error("the coordinator's plan does not fit its configuration: \(misfit)")
            return end(70)
        }
        connect(plan)
        if let member = welcome?.member, let rank = plan.ranks.firstIndex(where: { $0.worker == member }) {
            self.rank = rank
        }
        drive(.plan(plan))
        switch plan.activity {
        case .finished:
            finish(plan.committed)
            return end(0)
        case .failed(let reason):
            progress.interrupt()
            log.error("the run failed: \(reason)")
            return end(1)
        case .train, .wait: return true
        }
    }

    private func beat() {
        nextHeartbeat = .now + .milliseconds(welcome?.heartbeatMilliseconds ?? 1000)
        guard let welcome, coordinator.isWelcomed else { return }
        let statistics = [
            "resident_bytes": Double(ProcessMemory.residentBytes),
            "peak_resident_bytes": Double(ProcessMemory.peakResidentBytes),
            "replaced_images": Double(model?.value.replacedSamples ?? 0),
        ]
        coordinator.send(
            .heartbeat(Heartbeat(member: welcome.member, incarnation: incarnation, statistics: statistics)))
    }

    private func leave(_ reason: String) {
        guard let welcome else { return }
        coordinator.send(.leave(Leave(member: welcome.member, incarnation: incarnation, reason: reason)))
    }

    // MARK: Shards

    private func connect(_ plan: Plan) {
        for shard in plan.shards where shards[shard.shard]?.endpoint != shard.endpoint {
            shards[shard.shard]?.close()
            shards[shard.shard] = nil
            guard let welcome, let setup else { continue }
            var hello = hello
            hello.embeddingSize = setup.head.embeddingSize
            hello.classCount = setup.head.classCount
            hello.configurationHash = welcome.configurationHash
            hello.previousNumber = welcome.member.number
            let member = shard.shard
            do {
                shards[member] = try ClientConnection(
                    connect: shard.endpoint, hello: hello, thread: io, events: mailbox.sink { .shard(member, $0) })
            } catch {
                log.error("\(member) cannot be reached: \(error)")
            }
        }
    }

    /// A shard may not have joined yet when a worker greets it; anything else will not change.
    private func retry(_ shard: MemberID, after refusal: Refusal) {
        guard refusal.code == .notWelcomed, let connection = shards[shard] else {
            log.error("\(shard) refused this worker: \(refusal.message)")
            return
        }
        Thread.sleep(forTimeInterval: 0.1)
        connection.greet()
    }

    // MARK: The machine

    private func drive(_ event: Machine.Event) {
        for action in machine?.handle(event, at: now) ?? [] {
            switch action {
            case .send(let shard, let request): send(request, to: shard)
            case .report(let report): send(report)
            case .ask:
                guard let welcome else { break }
                coordinator.send(
                    .ready(Ready(member: welcome.member, incarnation: incarnation, held: machine?.current)))
            case .compute(let id, let computation): perform(id, computation)
            case .abandon:
                guard let model else { break }
                compute.submit { model.value.abandon() }
            }
        }
    }

    private func send(_ request: StepRequest<[Tensor]>, to shard: MemberID) {
        if case .notWelcomed? = shards[shard]?.send(.stepRequest(request, incarnation: incarnation)) {
            unsent[shard, default: []].append(request)
        }
    }

    /// Sends what waited for the handshake with a shard and still belongs to the attempt in hand.
    private func flush(_ shard: MemberID) {
        for request in unsent.removeValue(forKey: shard) ?? [] where request.id == machine?.current {
            send(request, to: shard)
        }
    }

    private func send(_ report: WorkerReport) {
        guard let welcome else { return }
        switch report {
        case .done(let result):
            coordinator.send(.stepDone(StepDone(member: welcome.member, incarnation: incarnation, result: result)))
        case .failed(let id, let code, let message):
            coordinator.send(
                .stepFailed(
                    StepFailed(member: welcome.member, incarnation: incarnation, id: id, code: code, message: message)))
        }
    }

    private func perform(_ id: StepID, _ computation: WorkerComputation<[Tensor]>) {
        guard let model, let shards = machine?.plan?.shards else { return }
        let mailbox = mailbox
        compute.submit {
            do throws(Refusal) {
                if let result = try model.value.perform(id, computation, shards: shards) {
                    mailbox.post(.computed(id, result))
                } else if case .install(let committed, _, let after) = computation,
                    let parameters = model.value.parameters
                {
                    mailbox.post(.installed(committed: after?.step ?? committed, parameters))
                }
            } catch {
                mailbox.post(.failed(id, computation.task, error))
            }
        }
    }

    // MARK: Progress and evaluation

    private func note(_ id: StepID, _ lossSums: [Double]) {
        guard let setup, let plan = machine?.plan else { return }
        let samples = lossSums.count * setup.configuration.batch.microBatch
        let loss = samples > 0 ? lossSums.reduce(0, +) / Double(samples) : nil
        progress.update(step: id.step, loss: loss, learningRate: plan.learningRate)
    }

    /// Evaluates every so many steps, beside the training, if the last evaluation is done.
    private func installed(_ step: Int, _ parameters: Tensor) {
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

    private func report(_ step: Int, _ result: Result<[VerificationReport], Refusal>) {
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
    private func finish(_ committed: Int) {
        // What the last step installed may still be on its way from the compute thread.
        while newest.map({ $0.step < committed }) ?? (rank == 0), let event = mailbox.next(within: .seconds(10)) {
            if case .installed(let step, let parameters) = event { newest = (step, parameters) }
        }
        guard let setup, rank == 0, let newest, newest.step == committed, !setup.backbone.isIdentity else { return }
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
                lines = reports.map(\.summary) + ["ROC: \(picture)"] + lines
            }
            let text = lines.joined(separator: "\n")
            if let summary = options.summary {
                try (text + "\n").write(toFile: summary, atomically: true, encoding: .utf8)
            }
            log.info("finished; \(lines.joined(separator: "; "))")
            // The coordinator's acknowledgement: the figures must be there before this process is gone.
            _ = mailbox.next(within: .seconds(1))
        } catch {
            log.error("\(error)")
            exitCode = 74
        }
    }
}

extension WorkerComputation {
    /// What fails if this computation does.
    var task: WorkerTask {
        switch self {
        case .labels: .labels
        case .embed: .embed
        case .softmax: .softmax
        case .backpropagate: .backpropagate
        case .norm: .norm
        case .install: .install
        }
    }
}
