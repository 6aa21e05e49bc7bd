import Cluster
import ProcessSupport
import Wire

/// What the coordinator knows of a member besides what the state machine needs.
struct MemberNotes {
    /// The connection that it was welcomed on.
    var peer: PeerID
    var host: String
    var processID: Int
    var threads: Int
    /// The figures of its last heartbeat.
    var statistics: [String: Double] = [:]

    /// What it said last of its disk, and how many incidents have been noted.
    var obstacle = ""
    var problem = ""
    var incidents = 0
    var isTornTailNoted = false
    /// Of events about these.
    var troubles = LogThrottle(limit: 20, per: .seconds(60))

    init(_ hello: Hello, _ peer: PeerID) {
        self.peer = peer
        host = hello.host
        processID = hello.processID
        threads = hello.threads
    }

    /// A count among the figures, 0 if it is missing.
    func count(_ name: String) -> Int { optionalCount(name) ?? 0 }

    /// A count among the figures, nil if it is missing.
    func optionalCount(_ name: String) -> Int? { statistics[name].flatMap { Int(exactly: $0.rounded()) } }
}
