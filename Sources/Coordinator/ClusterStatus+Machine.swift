import ClusterStatus
import PartialFC
import RunConfiguration
import RunSetup
import StepProtocol

extension CoordinatorStatus {
    /// One word for what the cluster does.
    var stateName: String {
        switch activity {
        case .train: isStopping ? "stopping" : "training"
        case .wait: isPaused ? "paused" : "waiting"
        case .finished: "finished"
        case .failed: "failed"
        }
    }

    /// Why it waits or failed.
    var reason: String {
        switch activity {
        case .wait(let reason), .failed(let reason): reason
        case .train, .finished: ""
        }
    }
}

extension ClusterStatus {
    /// The state machine's snapshot in the operator's words.
    init(_ machine: CoordinatorStatus, setup: RunSetup, clusterID: String, notes: [MemberID: MemberNotes]) {
        self.init(clusterID: clusterID, state: machine.stateName)
        let configuration = setup.configuration
        reason = machine.reason
        committed = machine.committed
        totalSteps = machine.totalSteps
        attempt = machine.current.attempt
        exchange = "\(machine.exchange)"
        exchangeReason = setup.exchangeReason
        classes = configuration.data.classes
        embeddingSize = configuration.backbone.embeddingSize
        batchSize = configuration.batch.size
        if let last = machine.history.last {
            loss = last.loss
            learningRate = last.learningRate
            gradientNorm = last.gradientNorm
            let recent = machine.history.suffix(20)
            let seconds = recent.reduce(0) { $0 + $1.seconds }
            if seconds > 0 {
                let stepsPerSecond = Double(recent.count) / seconds
                samplesPerSecond = stepsPerSecond * Double(batchSize)
                secondsLeft = Double(totalSteps - 1 - committed) / stepsPerSecond
            }
        }
        for member in machine.members {
            switch member.id.role {
            case .shard: shards.append(Shard(member, notes[member.id], setup))
            case .worker: workers.append(Worker(member, notes[member.id]))
            case .operator: break
            }
        }
    }
}

extension ClusterStatus.Shard {
    init(_ member: CoordinatorStatus.Member, _ notes: MemberNotes?, _ setup: RunSetup) {
        self.init(name: "\(member.id)", endpoint: member.endpoint)
        host = notes?.host ?? ""
        processID = notes?.processID ?? 0
        alive = member.isAlive
        late = member.isLate
        age = member.age.seconds
        if let range = member.slices {
            let owned = setup.classes(ofSlices: range)
            slices = [range.lowerBound, range.upperBound]
            classes = [owned.lowerBound, owned.upperBound]
        }
        if let range = member.denseSlices { denseSlices = [range.lowerBound, range.upperBound] }
        committed = member.stateStep ?? -1
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
        if let range = member.microBatches { microBatches = [range.lowerBound, range.upperBound] }
        if let result = member.lastResult {
            backboneSeconds = result.backboneSeconds
            exchangeSeconds = result.exchangeSeconds
            stepSeconds = result.totalSeconds
        }
        residentBytes = notes?.count("resident_bytes") ?? 0
        replacedImages = notes?.count("replaced_images") ?? 0
    }
}

extension Duration {
    /// The duration in seconds.
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
