import Configuration
import Foundation
import Monitoring
import OperatorStatus
import StepProtocol
import Wire

/// What the coordinator's loop makes known to the HTTP server's thread.
///
/// The loop writes, and never waits for longer than it takes to copy a few arrays; HTTP reads what is there.
final class ClusterMonitor: @unchecked Sendable {
    /// The cluster at one moment.
    struct Snapshot {
        var status: ClusterStatus
        var slices: [SliceStatus]
        var counters: WireCounters
    }

    /// What has been counted since this coordinator started.
    struct Counts {
        var steps = 0
        var attempts = 0
        var samples = 0
        var backboneSeconds = 0.0
        var exchangeSeconds = 0.0
        var updateSeconds = 0.0
        var durations = MetricsText.Histogram()
    }

    let health = ProcessHealth()
    private let lock = NSLock()
    private let batchSize: Int
    private var snapshot: Snapshot?
    private var counts = Counts()
    private var history: StepHistory
    /// Oldest first.
    private var events: [ClusterEvent] = []

    static let eventLimit = 1000

    init(_ configuration: RunConfiguration) {
        batchSize = configuration.batch.size
        history = StepHistory(totalSteps: configuration.totalSteps, batchSize: batchSize)
    }

    // MARK: From the loop

    func publish(_ new: Snapshot) { lock.withLock { snapshot = new } }

    func note(_ report: StepReport) {
        let figures = StepFigures(report)
        lock.withLock {
            counts.steps += 1
            counts.attempts += report.attempts
            counts.samples += report.loss == nil ? 0 : batchSize
            counts.backboneSeconds += figures.backboneSeconds ?? 0
            counts.exchangeSeconds += figures.exchangeSeconds ?? 0
            counts.updateSeconds += figures.updateSeconds ?? 0
            counts.durations.note(report.seconds)
            history.append(figures)
        }
    }

    func note(_ evaluation: ClusterStatus.Evaluation) { lock.withLock { history.append(evaluation) } }

    func note(_ event: ClusterEvent) {
        lock.withLock {
            events.append(event)
            if events.count > Self.eventLimit { events.removeFirst(events.count - Self.eventLimit) }
        }
    }

    /// What happened before this coordinator started.
    func begin(events: [ClusterEvent], history fill: (inout StepHistory) -> Void) {
        lock.withLock {
            // Those that come now have no number yet: none over HTTP has one.
            self.events = events.suffix(Self.eventLimit).map {
                ClusterEvent(time: $0.time, level: $0.level, text: $0.text)
            }
            fill(&history)
        }
    }

    // MARK: From HTTP

    /// Nil until the loop has turned for the first time.
    var latest: Snapshot? { lock.withLock { snapshot } }
    var totals: Counts { lock.withLock { counts } }
    func events(last count: Int) -> [ClusterEvent] { lock.withLock { Array(events.suffix(count)) } }
    func history(limit: Int) -> RunHistory { lock.withLock { history }.history(limit: limit) }
}

extension StepFigures {
    init(_ report: StepReport) {
        let slowest = report.results.map(\.result).max { $0.totalSeconds < $1.totalSeconds }
        self.init(
            step: report.step, loss: report.loss, gradientNorm: report.gradientNorm,
            learningRate: Double(report.learningRate), seconds: report.seconds, attempts: report.attempts,
            backboneSeconds: slowest?.backboneSeconds, exchangeSeconds: slowest?.exchangeSeconds,
            updateSeconds: slowest?.updateSeconds)
    }
}
