internal import Determinism
internal import StepProtocol

/// The coordinator process of the simulation and its database. It is node 0 of the network.
final class CoordinatorProcess {
    /// What the death of the process leaves, and what a power cut does.
    struct Database {
        private(set) var record: CoordinatorRecord?
        private var durable: CoordinatorRecord?
        private var unsynced: [CoordinatorRecord.Decision] = []

        mutating func write(_ decision: CoordinatorRecord.Decision, forgettingAttempts: Bool = false) {
            record = record ?? CoordinatorRecord()
            record?.apply(decision)
            if forgettingAttempts { record?.attempts = [] }
            if decision.mustBeDurable {
                durable = record
                unsynced = []
            } else {
                unsynced.append(decision)
            }
        }

        /// Keeps what is synced and a random part of what was written after it.
        mutating func losePower(_ random: inout KeyedRandom) -> Bool {
            let kept = Int(random.below(UInt64(unsynced.count + 1)))
            let isLess = kept < unsynced.count
            record = durable
            for decision in unsynced.prefix(kept) { record?.apply(decision) }
            (durable, unsynced) = (record, [])
            return isLess
        }
    }

    var machine: CoordinatorMachine
    /// Who has said hello to this process.
    var greeted: Set<Int> = []
    /// The last hello of each.
    var hellos: [Int: Int] = [:]
    var scheduledTick: Int64?
    /// While the record is made again from what shards say.
    var adoption: Adoption?

    init(_ configuration: CoordinatorConfiguration, _ record: CoordinatorRecord?, incarnation: UInt64) {
        machine = CoordinatorMachine(configuration, record: record, incarnation: incarnation)
    }
}
