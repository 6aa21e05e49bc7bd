import Cluster
import Wire

extension Hello {
    /// Why a coordinator that has no cluster to compare it with does not talk to the peer: it speaks another version. Nil if it does.
    var versionRefusal: Refusal? {
        if protocolVersion == wireProtocolVersion { return nil }
        return Refusal(
            .protocolVersion,
            "this coordinator speaks protocol version \(wireProtocolVersion), the peer \(protocolVersion)")
    }
}
