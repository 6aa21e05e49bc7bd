internal import Cluster

/// The coordinator knows a process of the simulation by its number.
extension PeerID {
    init(process: Int) {
        self.init(bytes: [UInt8(truncatingIfNeeded: process >> 8), UInt8(truncatingIfNeeded: process)])
    }

    var process: Int { bytes.reduce(0) { $0 << 8 | Int($1) } }
}
