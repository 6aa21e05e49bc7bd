public import Cluster

/// What a server expects of those that connect.
public struct HandshakePolicy: Sendable {
    public var clusterID: String
    public var embeddingSize: Int
    public var classCount: Int
    public var configurationHash: String
    /// The kernels that workers and shards must compute with (`KernelChoice`); nil when any will do.
    public var instructionSet: String?

    public init(
        clusterID: String, embeddingSize: Int, classCount: Int, configurationHash: String, instructionSet: String? = nil
    ) {
        self.clusterID = clusterID
        self.embeddingSize = embeddingSize
        self.classCount = classCount
        self.configurationHash = configurationHash
        self.instructionSet = instructionSet
    }

    /// Compares a peer's `hello` with this cluster. What the peer leaves empty or 0 it takes as it is here.
    ///
    /// - Returns: a refusal that names both values at the first difference.
    public func check(_ hello: Hello) -> Result<Void, Refusal> {
        if hello.protocolVersion != wireProtocolVersion {
            return refuse(
                .protocolVersion, "speaks protocol version \(wireProtocolVersion)", "\(hello.protocolVersion)")
        }
        if !hello.clusterID.isEmpty && hello.clusterID != clusterID {
            return refuse(.clusterID, "is \"\(clusterID)\"", "\"\(hello.clusterID)\"")
        }
        if hello.role == .operator { return .success(()) }
        if hello.embeddingSize != 0 && hello.embeddingSize != embeddingSize {
            return refuse(.embeddingSize, "trains embeddings of size \(embeddingSize)", "\(hello.embeddingSize)")
        }
        if hello.classCount != 0 && hello.classCount != classCount {
            return refuse(.classCount, "trains \(classCount) classes", "\(hello.classCount)")
        }
        if !hello.configurationHash.isEmpty && hello.configurationHash != configurationHash {
            return refuse(
                .configuration, "runs the configuration \"\(configurationHash)\"", "\"\(hello.configurationHash)\"")
        }
        // What a job computes with is its own affair.
        if let instructionSet, hello.job == nil,
            !KernelChoice(instructionSet).agrees(with: KernelChoice(hello.instructionSet))
        {
            return refuse(.instructionSet, "computes with \"\(instructionSet)\"", "\"\(hello.instructionSet)\"")
        }
        return .success(())
    }

    private func refuse(_ code: RefusalCode, _ here: String, _ there: String) -> Result<Void, Refusal> {
        .failure(Refusal(code, "this cluster \(here), the peer expects \(there)"))
    }
}
