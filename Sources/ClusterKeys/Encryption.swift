/// What a cluster with keys encrypts. All processes of it must agree.
public enum Encryption: String, Sendable, CaseIterable {
    /// Everything.
    case all
    /// What the coordinator says and hears. Tensors between workers and shards go in the clear, between peers that have shown a bulk
    /// secret, which goes in the clear too: for a network that nobody else can read or write.
    case control
}
