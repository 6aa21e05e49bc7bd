import Cluster
import Foundation
import Monitoring
import StepProtocol

/// What the worker's loop makes known to the HTTP server's thread.
final class WorkerFigures: @unchecked Sendable {
    struct Values {
        /// Its name in the cluster, empty before it has one.
        var member = ""
        var rank: Int?
        var committed = -1
        var steps = 0
        var microBatches = 0
        var backboneSeconds = 0.0
        var exchangeSeconds = 0.0
        var updateSeconds = 0.0
        var durations = MetricsText.Histogram()
        var replacedImages = 0
        var leftOutSamples = 0
        var leftOutIdentities = 0
        var last: StepID?
    }

    private let lock = NSLock()
    private var stored = Values()

    var values: Values { lock.withLock { stored } }

    func update(_ body: (inout Values) -> Void) { lock.withLock { body(&stored) } }

    /// Counts a step that this worker has computed; once, however often it is reported.
    func note(_ result: StepResult) {
        update {
            guard $0.last != result.id else { return }
            $0.last = result.id
            $0.steps += 1
            $0.microBatches += result.microBatches.count
            $0.backboneSeconds += result.backboneSeconds
            $0.exchangeSeconds += result.exchangeSeconds
            $0.updateSeconds += result.updateSeconds
            $0.durations.note(result.totalSeconds)
        }
    }
}
