import Configuration
import Foundation
import Model
import Setup
import StepProtocol

extension CoordinatorConfiguration {
    /// What the state machine must know of a run that begins with the checkpoint `origin`, if there is one.
    init(_ setup: RunSetup, origin: CoordinatorRecord.CheckpointRecord?) {
        let configuration = setup.configuration
        let (schedule, head) = (setup.schedule, setup.headSchedule)
        self.init(
            batchSize: configuration.batch.size, microBatchCount: configuration.microBatchCount,
            sliceCount: configuration.head.slices, denseSliceCount: configuration.denseSliceCount,
            expectedShards: configuration.cluster.shards, minimumWorkers: configuration.cluster.workers,
            totalSteps: configuration.totalSteps, exchange: setup.exchange,
            lease: .seconds(configuration.cluster.leaseSeconds), learningRate: { Float(schedule.rate(at: $0)) },
            head: { head.values(at: $0) })
        // Shards open it from their own working directories.
        checkpointDirectory = URL(fileURLWithPath: configuration.checkpointDirectory).standardizedFileURL.path
        checkpointEverySteps = configuration.checkpoint.everySteps
        let minutes = configuration.checkpoint.everyMinutes
        checkpointEvery = minutes > 0 ? .seconds(minutes * 60) : nil
        checkpointsKept = configuration.checkpoint.keep
        rebalancesAutomatically = configuration.cluster.rebalance == "auto"
        stuckAfter = .seconds(configuration.cluster.stuckSeconds)
        // The ranks of a job have equal parts.
        sharesAreMeasured = configuration.cluster.shares != "equal" && !configuration.isExternal
        if configuration.isExternal {
            job = JobPolicy(
                setsRate: configuration.jobSetsRate, goesBackFreely: configuration.jobGoesBackFreely)
        }
        movesAtOnce = configuration.cluster.movesAtOnce
        pauseAfter = configuration.cluster.pauseAfter
        copies = configuration.cluster.copies ?? 1
        promoteAfter = .seconds(configuration.cluster.promoteAfter ?? 30)
        minimumCopies = configuration.cluster.minCopies ?? 1
        onNotFinite =
            configuration.optimizer.notFinite == "stop" ? .stop : .skip(limit: configuration.optimizer.notFiniteLimit)
        writesResults = !setup.backbone.isIdentity
        let hasSets = configuration.data.heldOutClasses > 0 || !configuration.evaluation.sets.isEmpty
        evaluationEvery = writesResults && hasSets ? configuration.evaluation.every : 0
        self.origin = origin.map { .init(directory: $0.directory, step: $0.step, classVersion: $0.classVersion) }
    }
}
