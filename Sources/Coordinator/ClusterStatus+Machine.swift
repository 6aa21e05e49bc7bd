import Cluster
import Configuration
import Model
import OperatorStatus
import ParameterStore
import Setup
import StepProtocol

extension CoordinatorStatus {
    /// One word for what the cluster does.
    var stateName: String {
        switch activity {
        case .train, .task: isStopping ? "stopping" : "training"
        case .wait: isPaused ? "paused" : "waiting"
        case .finishing: "finishing"
        case .finished: "finished"
        case .failed: "failed"
        }
    }

    /// Why it waits or failed.
    var reason: String {
        switch activity {
        case .wait(let reason), .failed(let reason): reason
        case .finishing(nil):
            resultsProblem.isEmpty
                ? "results are due, waiting for a worker"
                : "the results could not be written, tried again in a moment: \(resultsProblem)"
        case .finishing(let writer?): "\(writer) writes the results"
        case .train, .task, .finished: ""
        }
    }
}

extension ClusterStatus {
    /// The state machine's snapshot in the operator's words.
    init(
        _ machine: CoordinatorStatus, setup: RunSetup, registry: ClassRegistry?, clusterID: String,
        notes: [MemberID: MemberNotes]
    ) {
        self.init(clusterID: clusterID, state: machine.stateName)
        let configuration = setup.configuration
        reason = machine.reason
        committed = machine.committed
        safe = machine.safe
        totalSteps = configuration.knownSteps
        term = machine.current.term
        attempt = machine.current.attempt
        mapVersion = machine.mapVersion
        classVersion = machine.classVersion
        pendingOperations = machine.pendingOperations.map(\.summary)
        exchange = "\(machine.exchange)"
        exchangeReason = setup.exchangeReason
        classes = registry?.classCount ?? configuration.data.classes
        embeddingSize = configuration.backbone.embeddingSize
        batchSize = configuration.batch.size
        optimizer = configuration.optimizer.name ?? "sgd"
        // What a job computes is not the cluster's to promise.
        determinism = configuration.isExternal ? "logged" : configuration.determinism ?? "exact"
        addSpeed(machine)
        if let running = machine.task {
            task = Task(
                number: running.number, kind: running.kind.name, step: running.step,
                pending: machine.taskPending.map { "\($0)" })
            task?.problems = Dictionary(uniqueKeysWithValues: machine.taskFailures.map { ("\($0.key)", $0.value) })
        }
        job = machine.job.map { job in
            Job(
                id: job.name, since: job.since, worldSize: job.ranks.count,
                missingRanks: job.ranks.indices.filter { job.ranks[$0] == nil })
        }
        copies = machine.copies.map { copies in
            Copies(
                wanted: copies.wanted, slices: copies.slices, complete: copies.complete,
                stepsToReplay: copies.stepsToReplay,
                secondsToReplay: copies.secondsPerStep.flatMap { seconds in
                    copies.stepsToReplay.map { Double($0) * seconds }
                }, problem: copies.problem.isEmpty ? nil : copies.problem)
        }
        let isOver = ["finishing", "finished", "failed"].contains(state)
        moves = (isOver ? [] : machine.moves).map {
            Move(slice: "\($0.move.slice)", from: "\($0.move.from)", to: "\($0.move.to)", received: $0.received)
        }
        checkpoints = machine.checkpoints.map(Checkpoint.init)
        nextLearningRate = machine.learningRate
        learningRateChanges = machine.rates.map { LearningRate(fromStep: $0.fromStep, rule: "\($0.rule)") }
        head = Head(machine.head)
        headVaries = setup.headVaries(machine.headChanges)
        headChanges = machine.headChanges.map(HeadChange.init)
        headInForce = machine.headChanges.inForce(at: machine.committed + 1).map(HeadChange.init)
        resultsProblem = machine.resultsProblem
        missedEvaluations = machine.missedEvaluations
        skippedSteps = machine.skippedSteps
        lastSkipped = machine.lastSkipped.map { SkippedStep(step: $0.step, message: $0.message) }
        straggler = machine.straggler
        waitingFor = machine.waitingFor.isEmpty ? nil : machine.waitingFor
        for member in machine.members {
            switch member.id.role {
            case .shard:
                shards.append(Shard(member, notes[member.id], registry))
                if copies != nil {
                    shards[shards.count - 1].copies = member.isAlive ? member.report?.kept.count ?? 0 : 0
                }
            case .worker: workers.append(Worker(member, notes[member.id]))
            case .operator: break
            }
        }
    }

    private mutating func addSpeed(_ machine: CoordinatorStatus) {
        stepAge = machine.stepAge.seconds
        guard let last = machine.history.last else { return }
        loss = last.loss
        learningRate = last.learningRate
        gradientNorm = last.gradientNorm
        let recent = machine.history.suffix(20)
        let seconds = recent.reduce(0) { $0 + $1.seconds }
        guard seconds > 0 else { return }
        // Whatever is over has no speed.
        switch machine.activity {
        case .finishing, .finished, .failed: return
        case .train, .task, .wait: break
        }
        let stepsPerSecond = Double(recent.count) / seconds
        isStale = stepAge > 2 + 3 / stepsPerSecond
        samplesPerSecond = stepsPerSecond * Double(batchSize)
        if totalSteps > 0 { secondsLeft = Double(totalSteps - 1 - committed) / stepsPerSecond }
    }
}

extension ClusterStatus.HeadChange {
    init(_ change: Cluster.HeadChange) { self.init(fromStep: change.fromStep, order: "\(change.order)") }
}

extension ClusterStatus.Head {
    init(_ values: HeadValues) {
        self.init(
            sampleRate: values.sampleRate, m1: Float(values.m1), m2: Float(values.m2), m3: Float(values.m3),
            scale: Float(values.scale), interclassFilter: Float(values.interclassFilter))
    }
}

extension ClusterStatus.Checkpoint {
    init(_ record: CoordinatorRecord.CheckpointRecord) {
        self.init(step: record.step, directory: record.directory, classVersion: record.classVersion)
    }
}

extension ClusterStatus.Shard {
    init(_ member: CoordinatorStatus.Member, _ notes: MemberNotes?, _ registry: ClassRegistry?) {
        self.init(name: "\(member.id)", endpoint: member.endpoint)
        host = notes?.host ?? ""
        processID = notes?.processID ?? 0
        alive = member.isAlive
        late = member.isLate
        age = member.age.seconds
        if let owned = member.slices {
            slices = owned.ranges.map(\.bounds)
            if let layout = registry?.layout {
                classes = SliceSet(owned.numbers.flatMap { layout.classes(of: $0).ranges }).ranges.map(\.bounds)
            }
        }
        denseSlices = member.denseSlices?.ranges.map(\.bounds) ?? []
        committed = member.report?.committed ?? -1
        durable = member.report?.durable ?? -1
        obstacle = member.report?.obstacle ?? ""
        problem = member.report.flatMap { $0.problem.isEmpty ? nil : $0.problem }
        goodbye = member.goodbye
        leftOut = member.leftOut.isEmpty ? nil : member.leftOut
        isDraining = member.isDraining
        logBytes = notes?.count("log_bytes") ?? 0
        snapshotStep = notes?.optionalCount("snapshot_step")
        loadSeconds = notes?.statistics["load_seconds"]
        replaySeconds = notes?.statistics["replay_seconds"]
        replayedSteps = notes?.optionalCount("replayed_steps")
        memoryBytes = notes?.count("memory_bytes") ?? 0
        residentBytes = notes?.count("resident_bytes") ?? 0
        refused = notes?.count("refused") ?? 0
    }
}

extension ClusterStatus.Worker {
    init(_ member: CoordinatorStatus.Member, _ notes: MemberNotes?) {
        self.init(name: "\(member.id)")
        host = notes?.host ?? ""
        processID = notes?.processID ?? 0
        threads = notes?.threads ?? 1
        alive = member.isAlive
        late = member.isLate
        age = member.age.seconds
        rank = member.rank
        leftOut = member.leftOut.isEmpty ? nil : member.leftOut
        if let range = member.microBatches { microBatches = range.bounds }
        if let result = member.lastResult {
            backboneSeconds = result.backboneSeconds
            exchangeSeconds = result.exchangeSeconds
            updateSeconds = result.updateSeconds
            stepSeconds = result.totalSeconds
        }
        residentBytes = notes?.count("resident_bytes") ?? 0
        replacedImages = notes?.count("replaced_images") ?? 0
        leftOutSamples = notes?.count("left_out_samples")
        leftOutIdentities = notes?.count("left_out_identities")
    }
}

extension Duration {
    /// The duration in seconds.
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
