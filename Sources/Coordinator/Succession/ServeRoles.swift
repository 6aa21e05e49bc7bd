import ClusterKeys
import Configuration
import CoordinatorStore
import Foundation
import Logging
import Monitoring
import NetworkAddress
import ProcessSupport
import Setup
import StepProtocol
import Succession
import Synchronization
import Wire

/// What a `coordinator serve` is, one after the other: it decides, stands by, or finds out which of both.
struct ServeRoles {
    let options: Serve
    let security: ClusterSecurity
    /// Nil of a standby: it has the other one's.
    let configuration: RunConfiguration?
    /// What this coordinator has decided, or has from the other one. Whoever makes this closes it.
    let store: CoordinatorDatabase
    let log: Logger
    /// To be called when it works.
    let hasBegun: () -> Void

    /// Passes the end of the process on to whatever runs.
    private final class Switch: Sendable {
        private let state = Mutex<(stop: (@Sendable (String) -> Void)?, reason: String?)>((nil, nil))

        /// What runs from now on.
        func set(_ stop: @escaping @Sendable (String) -> Void) {
            let reason = state.withLock { state in
                state.stop = stop
                return state.reason
            }
            if let reason { stop(reason) }
        }

        func stop(_ reason: String) {
            let stop = state.withLock { state in
                state.reason = reason
                return state.stop
            }
            stop?(reason)
        }
    }

    /// Runs until the process is to end.
    ///
    /// - Throws: what ends it with another exit code than 0.
    func run() throws {
        let end = Switch()
        let signals = ProcessSignals(followParent: options.exitWithParent) { end.stop($0) }
        defer { withExtendedLifetime(signals) {} }
        var followed = try firstFollowed()
        var (mustAdopt, isTakenOver) = (options.adopt, false)
        while true {
            if let endpoint = followed {
                guard try standBy(for: endpoint, end, &followed) else { return }
                isTakenOver = true
                continue
            }
            let adopt = mustAdopt
            mustAdopt = false
            switch try decide(adopt: adopt, isTakenOver: isTakenOver, end) {
            case .stopped: return
            case .isolated: log.info("finding out who decides")
            case .follows(let endpoint): followed = endpoint
            }
        }
    }

    /// The coordinator that this one stands by for when the process begins.
    private func firstFollowed() throws -> String? {
        let pair = try store.pair()
        if let known = pair.follows { return known }
        guard let wanted = options.standsByFor else { return nil }
        let record = try store.load()?.record
        guard record == nil || record?.view.standby?.id == pair.identity else {
            log.warning(
                "\(store.path) is of a coordinator that decides, and not of a standby: it goes on. To have it stand by for \(wanted), give it an empty --state directory"
            )
            return nil
        }
        try store.follow(wanted)
        return wanted
    }

    /// Stands by. Returns false when the process is to end.
    private func standBy(for endpoint: String, _ end: Switch, _ followed: inout String?) throws -> Bool {
        switch try understudy(endpoint, isStandby: true, end) {
        case .stopped: return false
        case .leads: followed = nil
        case .follows(let other): followed = other
        }
        return true
    }

    private func understudy(_ other: String, isStandby: Bool, _ end: Switch) throws -> Understudy.Ending {
        let advertised = options.advertise ?? EnvironmentDefaults.text("PARTIALFC_ADVERTISE")
        let understudy = try Understudy(
            store: store, other: other, isStandby: isStandby, isAutomatic: options.isAutomatic, bind: options.bind,
            advertise: try advertised.map { try AdvertisedAddress(option: "--advertise", $0) }, security: security,
            log: log)
        let pages = options.httpBinding == "off" ? nil : try options.serve(understudy.health, log)
        defer { pages?.close() }
        try options.write(understudy.address)
        hasBegun()
        let stoppable = Stoppable(understudy)
        end.set { stoppable.value.stop($0) }
        return understudy.run()
    }

    /// Decides, unless the standby in the record does.
    private func decide(adopt: Bool, isTakenOver: Bool, _ end: Switch) throws -> CoordinatorService.Ending {
        var run = try open(adopt: adopt, end)
        if let standby = run.record.view.standby {
            // What is here was decided by the other one.
            guard standby.id != (try store.pair().identity) else {
                throw StoredRunError(
                    "\(store.path) is of a standby: start it with --standby and the endpoint of the coordinator")
            }
            switch try understudy(standby.endpoint, isStandby: false, end) {
            case .stopped: return .stopped
            case .follows(let endpoint): return .follows(endpoint)
            case .leads: run = try open(adopt: false, end)
            }
        }
        return try serve(run, isTakenOver: isTakenOver, end)
    }

    /// Opens the run; that of a standby is configured as it was.
    private func open(adopt: Bool, _ end: Switch) throws -> StoredRun {
        let configuration: RunConfiguration
        if let known = self.configuration {
            configuration = known
        } else {
            guard let stored = try store.load() else {
                throw StoredRunError("\(store.path) has nothing of a run: it cannot be taken over")
            }
            configuration = try RunConfiguration(stored: stored.cluster.configuration)
        }
        return try StoredRun(
            store: store, setup: RunSetup(configuration), resume: options.resume, accepted: options.accept,
            adopt: adopt ? { try adoption($0, end) } : nil)
    }

    private func serve(_ run: StoredRun, isTakenOver: Bool, _ end: Switch) throws -> CoordinatorService.Ending {
        let setup = run.setup
        if run.isContinued { log.info("going on after step \(run.record.committed), term \(run.record.term)") }
        let output = try OutputDirectory(
            setup.configuration.output, isContinued: run.isContinued, patience: isTakenOver ? 3 : nil, log: log)
        defer { withExtendedLifetime(output) {} }
        let monitor = options.httpBinding == "off" ? nil : ClusterMonitor(setup.configuration)
        let tensorBoard = try options.tensorboard.map {
            try TensorBoardFile(
                directory: $0, committed: run.record.committed, batchSize: setup.configuration.batch.size, log: log)
        }
        let service = try CoordinatorService(
            setup: setup, run: run, bind: options.bind, security: security.server, monitor: monitor,
            tensorBoard: tensorBoard, log: log)
        if let adopted = run.adopted { service.note(.warning, adopted) }
        let pages = try monitor.map { try options.serve($0, log) }
        try options.write(service.address)
        hasBegun()
        let stoppable = Stoppable(service)
        end.set { stoppable.value.stop($0) }
        let ending = service.run()
        pages?.close()
        return ending
    }

    /// Waits for the shards of a coordinator whose state is lost.
    private func adoption(_ setup: RunSetup, _ end: Switch) throws -> Adopter.Found {
        let adopter = try Adopter(setup: setup, bind: options.bind, security: security.server, log: log)
        try options.write(adopter.address)
        end.set { [log] reason in
            log.info("stopping: \(reason)")
            Foundation.exit(0)
        }
        return adopter.run()
    }
}

/// Lets the thread of the signals call the one method that any thread may call.
private struct Stoppable<Value: AnyObject>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
